"""Many requests at the same moment, for one image and for several, at a real service.

As acceleration-service tests itself (``concurrent/test-same.sh``, ``test-diff.sh``).
When the service ends it is seen that the repository is sound and no traceback logged.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.harness.service_with_registry import (
    ServiceWithRegistry,
    run_service_with_registry,
)
from tests.support.images.oci import digest_of, gzip_layer, tar_of

ACCEPTED = 202
AT_ONCE = 10
BASE = gzip_layer(tar_of({"base": bytes(range(256)) * 40_000}))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceWithRegistry]:
    with run_service_with_registry(tmp_path_factory.mktemp("at-once")) as made:
        yield made


def downloads(service: ServiceWithRegistry, blob: bytes) -> int:
    return len(service.registry.seen("GET", f"/blobs/{digest_of(blob)}"))


@pytest.mark.parametrize("asked_by", ["operator", "registry"])
def test_an_image_that_is_asked_for_ten_times_at_once_is_made_once(
    service: ServiceWithRegistry, asked_by: str
) -> None:
    repository = f"good/same-{asked_by}"
    layer = gzip_layer(tar_of({"who": asked_by.encode()}))
    image = service.registry.push_image(repository, "v1", [layer])
    reference = service.reference(f"{repository}:v1")

    def ask(_: int) -> int:
        if asked_by == "operator":
            return service.ask(reference).status_code
        return service.notify(repository, "v1", image.digest).status_code

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert set(pool.map(ask, range(AT_ONCE))) == {ACCEPTED}
    service.pushed.append(reference)
    live = service.wait_until_live(reference)
    assert live["live_digest"] == image.digest
    assert downloads(service, layer.blob) == 1
    runs = live["runs"]
    assert isinstance(runs, list)
    assert [run["outcome"] for run in runs].count("published") == 1


def test_three_images_at_once_all_go_live_and_share_what_they_share(
    service: ServiceWithRegistry,
) -> None:
    names = [f"good/different:{number}" for number in range(3)]
    own = [gzip_layer(tar_of({"own": name.encode()})) for name in names]
    for name, layer in zip(names, own, strict=True):
        repository, _, tag = name.partition(":")
        service.registry.push_image(repository, tag, [BASE, layer])

    def ask(name: str) -> int:
        return service.ask(service.reference(name)).status_code

    with ThreadPoolExecutor(len(names)) as pool:
        assert set(pool.map(ask, names)) == {ACCEPTED}
    for name in names:
        service.pushed.append(service.reference(name))
        service.wait_until_live(service.reference(name))
    assert [downloads(service, layer.blob) for layer in (BASE, *own)] == [1, 1, 1, 1]
