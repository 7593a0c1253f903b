"""A bucket of an S3-compatible service: the one room that talks to its client.

Every answer of the client that is no answer becomes an error of ours, in one line and
without what servers like to repeat in theirs (key ids, signed texts).

obstore runs its requests on threads of its own, which a fork does not take along: a
child of a process that has used a bucket can use none. It is told so, where it would
wait for ever.

Source of the headers: cvmfs-format.md section 9 (cvmfs/upload_s3.cc).
"""

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import IO, TYPE_CHECKING, NamedTuple

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store

from workers.cvmfs.errors import NotFound, StorageFailed

if TYPE_CHECKING:
    from obstore import Attributes, GetResult, PutMode
    from obstore.store import S3Config

_RETRY_SECONDS = 60.0
_PART_BYTES = 8 * 1024 * 1024
_PARTS_AT_ONCE = 4
_LISTED_AT_ONCE = 1_000
_DELETED_AT_ONCE = 1_000
"""As many as one DeleteObjects takes."""
_DELETED_ONE_BY_ONE = 100
_FIRST_PAUSE_SECONDS = 0.2
_DELETING_TIMEOUT_SECONDS = 20.0
_ENDPOINT = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(/[A-Za-z0-9._/-]*)?", re.ASCII)
_ERROR_CODE = re.compile(r"<Code>(\w+)</Code>")

_used_by: set[int] = set()


class Outdated(Exception):
    """Another version of the object is there than the one that was to be replaced."""


@dataclass(frozen=True, slots=True)
class BucketAccess:
    """How to reach a bucket.

    Attributes:
        bucket: its name.
        prefix: what all keys begin with, without slashes at its ends; may be empty.
        endpoint: URL of the service; ``None``: that of AWS for the region.
        region: which signatures name.
        access_key: with ``secret_key``, whom we are; without them, the client looks
            where clients of S3 look: environment, web identity, instance.
        secret_key: see ``access_key``.
        is_path_style: the bucket is part of the path, not of the host name.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    is_path_style: bool = True


class ListedKey(NamedTuple):
    """An object as a listing shows it.

    Attributes:
        name: the last part of its key.
        size: in bytes.
        written: when it was written, by the service's clock; unix time.
    """

    name: str
    size: int
    written: float


class Bucket:
    """Objects by key, below one prefix.

    Args:
        access: which bucket, and how to reach it.
        retry_seconds: for how long a request is tried again while the service answers
            with errors of its own, or not at all.
    """

    def __init__(
        self, access: BucketAccess, *, retry_seconds: float = _RETRY_SECONDS
    ) -> None:
        self._access = access
        self._retry_seconds = retry_seconds
        self._store = _store(access, retry_seconds)
        soon = _DELETING_TIMEOUT_SECONDS
        self._deleter = _store(access, 0.0, timeout_seconds=soon, is_bulk=True)
        self._single_deleter = _store(access, 0.0, timeout_seconds=soon)

    def __repr__(self) -> str:
        return f"Bucket({self.url!r})"

    @property
    def url(self) -> str:
        """Where it is, as the configuration says it."""
        return f"s3://{self._access.bucket}/{self._access.prefix}".rstrip("/")

    def get(self, key: str) -> tuple[bytes, str | None]:
        """Return an object and its ETag.

        Raises:
            NotFound: there is none.
            StorageFailed: it cannot be read.
        """
        with self._translated(key):
            answer = obstore.get(self._store, key)
            return bytes(answer.bytes()), answer.meta["e_tag"]

    def blocks(self, key: str, block_bytes: int) -> Iterator[bytes]:
        """Ask for an object and return its content in blocks, read when wanted.

        Raises:
            NotFound: there is none; raised at once.
            StorageFailed: it cannot be read.
        """
        with self._translated(key):
            answer = obstore.get(self._store, key)
        return self._blocks(key, answer, block_bytes)

    def _blocks(self, key: str, answer: "GetResult", size: int) -> Iterator[bytes]:
        with self._translated(key):
            for block in answer.stream(min_chunk_size=size):
                yield bytes(block)

    def version(self, key: str) -> str | None:
        """Return the ETag of an object, ``None`` where there is none."""
        try:
            with self._translated(key):
                return obstore.head(self._store, key)["e_tag"] or ""
        except NotFound:
            return None

    def written(self, key: str) -> float:
        """Return when an object was written, by the service's clock; unix time.

        Raises:
            NotFound: there is none.
        """
        with self._translated(key):
            return obstore.head(self._store, key)["last_modified"].timestamp()

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one; tell whether there was none."""
        try:
            self._put(key, data, "create")
        except Outdated:
            return False
        return True

    def write(self, key: str, data: bytes, version: str | None) -> str | None:
        """Replace one version of an object, or none, and return the new version.

        An answer may get lost after the write was made, and the client asks again:
        finding our own bytes there is success.

        Raises:
            Outdated: it is not that version that is there.
        """
        try:
            return self._put(key, data, "create" if version is None else version)
        except Outdated:
            try:
                found, found_version = self.get(key)
            except NotFound:
                found = None
            if found != data:
                raise
            return found_version

    def put_file(self, key: str, file: IO[bytes], size: int) -> None:
        """Write a large object, whatever is there, in bounded memory."""
        file.seek(0)
        with self._written(key):
            obstore.put(
                self._store,
                key,
                file,
                attributes=headers_of(key),
                use_multipart=size > _PART_BYTES,
                chunk_size=_PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )

    def delete(self, key: str) -> None:
        """Remove an object; success means "it is not there"."""
        try:
            with self._translated(key):
                obstore.delete(self._store, key)
        except NotFound:
            return

    def listed(self, folder: str) -> Iterator[ListedKey]:
        """Yield what lies in a folder, and in no folder of it, a page at a time.

        Raises:
            StorageFailed: not all of it can be listed.
        """
        # The store puts its own prefix before what it is asked for, and gives it back.
        with self._translated(folder):
            pages = obstore.list(self._store, folder, chunk_size=_LISTED_AT_ONCE)
            for page in pages:
                for found in page:
                    path, _, name = found["path"].rpartition("/")
                    if path.endswith(folder):
                        moment = found["last_modified"].timestamp()
                        yield ListedKey(name, found["size"], moment)

    def delete_all(self, keys: Sequence[str], before_each: Callable[[], None]) -> None:
        """Remove objects; success means "they are not there".

        A request ends soon, whatever its answer, and none is sent again unasked for.

        Args:
            keys: any number of them.
            before_each: called before each request; what it raises ends it all.
        """
        deadline = time.monotonic() + self._retry_seconds
        for some in _parts(keys, _DELETED_AT_ONCE):
            before_each()
            try:
                self._delete(self._deleter, some)
            except (NotFound, StorageFailed):
                # Not every service knows DeleteObjects; whatever else it was shows.
                for part in _parts(some, _DELETED_ONE_BY_ONE):
                    self._delete_one_by_one(part, before_each, deadline)

    def _delete_one_by_one(
        self, keys: Sequence[str], before_each: Callable[[], None], deadline: float
    ) -> None:
        pause_seconds = _FIRST_PAUSE_SECONDS
        left = list(keys)
        while left:
            before_each()
            try:
                while left:
                    with suppress(NotFound):
                        self._delete(self._single_deleter, left[-1:])
                    left.pop()
            except StorageFailed:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(pause_seconds)
                pause_seconds *= 2

    def _delete(self, store: S3Store, keys: Sequence[str]) -> None:
        with self._translated(f"{keys[0]} (and {len(keys) - 1} more)"):
            obstore.delete(store, keys)

    def _put(self, key: str, data: bytes, condition: str) -> str | None:
        mode: PutMode = "create" if condition == "create" else {"e_tag": condition}
        with self._written(key):
            answer = obstore.put(
                self._store,
                key,
                data,
                attributes=headers_of(key),
                mode=mode,
                use_multipart=False,
            )
            return answer["e_tag"]

    @contextmanager
    def _written(self, key: str) -> Iterator[None]:
        """Translate errors of a write, to which only a bucket can be missing."""
        try:
            with self._translated(key):
                yield
        except NotFound:
            name = f"s3://{self._access.bucket}"
            raise StorageFailed(f"{key}: there is no bucket {name}") from None

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        require_own_process()
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"no {key} in {self.url}") from error
        except (AlreadyExistsError, PreconditionError) as error:
            raise Outdated(key) from error
        except (BaseError, OSError, ValueError) as error:
            # Not chained: the client's own text may show what must not be shown.
            raise StorageFailed(f"{self.url}/{key}: {self._reason(error)}") from None

    def _reason(self, error: Exception) -> str:
        text = str(error)
        code = _ERROR_CODE.search(text)
        reason = text.partition("\n")[0].partition("<")[0].strip(" :")
        reason = f"{reason} ({code[1]})" if code else reason
        for secret in (self._access.secret_key, self._access.access_key):
            reason = reason.replace(secret, "…") if secret else reason
        return reason


def require_own_process() -> None:
    """Remember this process as one that uses buckets.

    Raises:
        StorageFailed: it was forked from another one.
    """
    _used_by.add(os.getpid())
    if len(_used_by) > 1:
        raise StorageFailed(
            "a bucket was used before this process was forked; use it in the child only"
        )


def headers_of(key: str) -> "Attributes":
    """Return the headers with which readers shall get an object."""
    if key.startswith("data/txn/"):
        return {"Content-Type": "application/json", "Cache-Control": "no-store"}
    if key.startswith("data/"):
        return {
            "Content-Type": "application/octet-stream",
            "Cache-Control": "max-age=259200",
        }
    # Squid by default keeps nothing that is good for a minute or less.
    return {"Content-Type": "application/x-cvmfs", "Cache-Control": "max-age=61"}


def _parts(keys: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    return (keys[begin : begin + most] for begin in range(0, len(keys), most))


def _store(
    access: BucketAccess,
    retry_seconds: float,
    *,
    timeout_seconds: float = 60.0,
    is_bulk: bool = False,
) -> S3Store:
    config: S3Config = {
        "bucket": access.bucket,
        "region": access.region,
        "conditional_put": "etag",
        "disable_bulk_delete": not is_bulk,
        "virtual_hosted_style_request": not access.is_path_style,
    }
    if access.endpoint is not None:
        config["endpoint"] = access.endpoint
    if access.access_key is not None and access.secret_key is not None:
        config["access_key_id"] = access.access_key
        config["secret_access_key"] = access.secret_key
    is_plain = (access.endpoint or "").startswith("http://")
    try:
        # The client does not survive another text, it panics.
        if access.endpoint is not None and not _ENDPOINT.fullmatch(access.endpoint):
            raise ValueError  # noqa: TRY301 - as the client does of other values
        return S3Store(
            prefix=access.prefix or None,
            config=config,
            client_options={
                "allow_http": is_plain,
                "timeout": timedelta(seconds=timeout_seconds),
            },
            retry_config={
                "max_retries": 10 if retry_seconds else 0,
                "retry_timeout": timedelta(seconds=retry_seconds),
            },
        )
    except (BaseError, ValueError):
        raise StorageFailed(
            f"s3://{access.bucket}/{access.prefix}: bucket, endpoint {access.endpoint}"
            f" and region {access.region} do not make a storage"
        ) from None
