"""What a fake registry of one image holds, and clients of it."""

from tests.support.images.oci import build_image, tar_of
from tests.support.registries.fake_registry import FakeRegistry
from workers.registry import RegistryAccess, RegistryClient, Timeouts

NAME = "atlas/analysis"
IMAGE = build_image([tar_of({"etc/motd": b"hello\n"})])


def open_client(
    registry: FakeRegistry,
    *,
    internal: tuple[str, ...] = (),
    timeouts: Timeouts | None = None,
    with_password: bool = False,
    token_hosts: tuple[str, ...] = (),
) -> RegistryClient:
    """Open a client that knows this registry, and nothing else of this network."""
    username, password = registry.credentials if with_password else (None, None)
    access = RegistryAccess(
        registry.host,
        plain_http=True,
        username=username,
        password=password,
        token_hosts=token_hosts,
    )
    return RegistryClient(
        {registry.host: access},
        internal_hosts=frozenset({registry.host, *internal}),
        timeouts=timeouts,
        sleep=lambda _seconds: None,
    )
