"""Whether all of an image can be read without credentials."""

from collections.abc import Iterator

import pytest

from tests.support.images.oci import build_image, digest_of, tar_of
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.misbehaving_server import Reply
from workers.reference import Reference
from workers.registry import RegistryAccess, RegistryClient, RegistryUnavailable

NAME = "atlas/analysis"
IMAGE, OTHER = (
    build_image([tar_of({f"{name}{n}": b"x"}) for n in range(3)], platform=platform)
    for name, platform in (("one", "linux/amd64"), ("other", "linux/arm64"))
)
BLOBS = [digest_of(blob) for blob in IMAGE.blobs]


@pytest.fixture(params=[False, True], ids=["no tokens", "tokens for all"])
def registry(request: pytest.FixtureRequest) -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.tokens_for_all = request.param
        registry.hold_image(NAME, "v1", IMAGE)
        yield registry


def withheld(registry: FakeRegistry, *, with_password: bool = True) -> str | None:
    username, password = registry.credentials if with_password else (None, None)
    access = RegistryAccess(
        registry.host, plain_http=True, username=username, password=password
    )
    hosts = frozenset({registry.host})
    reference = Reference.parse(f"{registry.host}/{NAME}@{IMAGE.digest}")
    with RegistryClient({registry.host: access}, internal_hosts=hosts) as client:
        manifests = [IMAGE.digest, OTHER.digest]
        return client.withheld(reference, manifests, [*BLOBS, BLOBS[-1]])


def test_what_everybody_may_read_is_asked_for_once_each_without_content(
    registry: FakeRegistry,
) -> None:
    registry.hold_image(NAME, None, OTHER)
    assert withheld(registry) is None
    for digest in (*BLOBS, IMAGE.digest, OTHER.digest):
        # From the first one a session learns that it needs a token.
        is_first = registry.tokens_for_all and digest == IMAGE.digest
        assert len(registry.seen("HEAD", digest)) == 1 + is_first
    assert not registry.seen("GET", "/v2/")
    assert len(registry.seen("GET", "^/token")) == registry.tokens_for_all
    assert not any(
        one.headers.get("Authorization", "").startswith("Basic")
        for one in registry.seen("GET", "^/token")
    )


@pytest.mark.parametrize("digest", BLOBS, ids=["config", "first", "second", "last"])
def test_a_blob_that_is_kept_for_those_who_log_in_is_found(
    registry: FakeRegistry, digest: str
) -> None:
    registry.hold_image(NAME, None, OTHER)
    registry.make_blob_private(NAME, digest)
    assert withheld(registry) == digest


def test_a_manifest_of_an_index_that_is_not_there_for_all_is_found(
    registry: FakeRegistry,
) -> None:
    assert withheld(registry) == OTHER.digest
    registry.make_private(NAME)
    assert withheld(registry) == IMAGE.digest


def test_who_has_no_credentials_reads_nothing_but_what_all_may_read(
    registry: FakeRegistry,
) -> None:
    registry.make_blob_private(NAME, BLOBS[0])
    assert withheld(registry, with_password=False) is None
    assert not registry.seen("HEAD", "/blobs/")


def test_a_blob_that_another_repository_shows_is_asked_for_in_its_own(
    registry: FakeRegistry,
) -> None:
    registry.hold_image(NAME, None, OTHER)
    registry.hold_image("public/base", "v1", IMAGE)
    registry.make_blob_private(NAME, BLOBS[1])
    assert withheld(registry) == BLOBS[1]
    registry.make_blob_private("public/base", BLOBS[2])
    assert withheld(registry) == BLOBS[1]


@pytest.mark.parametrize("status", [400, 405, 501, 503])
def test_where_head_is_not_answered_one_byte_is_asked_for(
    registry: FakeRegistry, status: int
) -> None:
    registry.hold_image(NAME, None, OTHER)
    registry.fail("HEAD", "/blobs/", status=status, times=100)
    assert withheld(registry) is None
    asked = registry.seen("GET", "/blobs/")
    assert {one.headers.get("Range") for one in asked} == {"bytes=0-0"}
    registry.make_blob_private(NAME, BLOBS[3])
    assert withheld(registry) == BLOBS[3]


def test_what_a_registry_does_not_say_is_not_guessed(registry: FakeRegistry) -> None:
    registry.hold_image(NAME, None, OTHER)

    def unavailable(_path: str, _reply: Reply) -> Reply:
        return Reply(503)

    for method in ("GET", "HEAD"):
        registry.spoil(method, "/blobs/", unavailable, times=None)
    with pytest.raises(RegistryUnavailable):
        withheld(registry)
