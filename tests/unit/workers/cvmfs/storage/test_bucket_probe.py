"""A service is asked once whether it keeps conditions."""

from collections.abc import Iterator

import pytest

from tests.support.repositories.s3_server import BUCKET, S3Server, s3_server, storage_on
from workers.cvmfs import S3Storage
from workers.cvmfs.errors import StorageFailed


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def storage(server: S3Server) -> S3Storage:
    return storage_on(server)


@pytest.mark.parametrize("header", ["if-match", "if-none-match"])
def test_a_service_that_ignores_conditions_is_refused_in_one_line(
    storage: S3Storage, server: S3Server, header: str
) -> None:
    server.ignored = {header}
    for attempt in (storage.prepare, lambda: storage.lock().__enter__()):
        with pytest.raises(StorageFailed, match=f"(?i)ignores {header}:") as caught:
            attempt()
        assert "\n" not in str(caught.value)
        assert BUCKET in str(caught.value)
    assert server.objects == {}


def test_a_good_service_is_probed_once_and_left_clean(
    storage: S3Storage, server: S3Server
) -> None:
    storage.prepare()
    count = len(server.requests)
    storage.prepare()
    assert len(server.requests) == count
    assert server.objects == {}
