"""Whether a bucket keeps the conditions of conditional writes.

Some services ignore ``If-Match`` and ``If-None-Match`` and write all the same. There
two publishers would overwrite each other's revisions without noticing, so they are
refused before anything is written to a repository.
"""

import secrets
from contextlib import suppress

from workers.cvmfs.errors import StorageFailed
from workers.cvmfs.storage.bucket import Bucket, Outdated

_NO_VERSION = '"00000000000000000000000000000000"'


def probe(bucket: Bucket) -> None:
    """Write a small object that nobody else knows, against the conditions.

    Raises:
        StorageFailed: the bucket ignores conditions, or cannot be written to.
    """
    key = f"data/txn/probe-{secrets.token_hex(8)}"
    try:
        version = bucket.write(key, b"[0]", None)
        if not version:
            raise _refusal(bucket, "gives no ETag")
        if _is_written(bucket, key, b"[1]", None):
            raise _refusal(bucket, "ignores If-None-Match")
        if _is_written(bucket, key, b"[2]", _NO_VERSION):
            raise _refusal(bucket, "ignores If-Match")
        if not _is_written(bucket, key, b"[3]", version):
            raise _refusal(bucket, "does not know its own ETag in If-Match")
    finally:
        with suppress(StorageFailed):
            bucket.delete(key)


def _is_written(bucket: Bucket, key: str, data: bytes, version: str | None) -> bool:
    try:
        bucket.write(key, data, version)
    except Outdated:
        return False
    return True


def _refusal(bucket: Bucket, what: str) -> StorageFailed:
    return StorageFailed(
        f"{bucket!r} {what}: two publishers could overwrite each other;"
        " use a service with conditional writes"
    )
