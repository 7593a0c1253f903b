"""Where a repository lies: the few operations the format needs of a storage.

Paths are relative to the repository's base and written with slashes, as
``data/28/d94b…`` or ``.cvmfspublished``. Two sorts of files exist. *Objects* lie under
``data/``, are named by their content and never change, so storing one twice is storing
it once. *Mutable files* are the few at the top; each is replaced as a whole.

Every write of this library goes through a method of ``Storage``: a test that lets the
n-th of them fail has been everywhere a crash can be.

Source: cvmfs-format.md sections 1 and 7.1.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, NamedTuple, Protocol, runtime_checkable

MANIFEST = ".cvmfspublished"
WHITELIST = ".cvmfswhitelist"
REFLOG = ".cvmfsreflog"
MASTER_REPLICA = ".cvmfs_master_replica"
STATUS = ".cvmfs_status.json"
COLLECTION = ".cvmfs_collection"
"""Ours alone: when something was last deleted; see ``deletion_mark.py``."""

RESERVE = "data/txn/reserve"
"""Ours alone: room that is given up where a full disk has no other."""


class ObjectSource(Protocol):
    """What a reader needs; a directory, a bucket and a web server can all be one."""

    def get(self, path: str) -> bytes:
        """Return the whole file.

        Raises:
            NotFound: there is no such file.
            StorageFailed: it cannot be read.
        """
        ...

    def open(self, path: str) -> BinaryIO:
        """Open the file for reading in pieces; the caller closes it.

        Raises:
            NotFound: there is no such file.
            StorageFailed: it cannot be read.
        """
        ...

    def exists(self, path: str) -> bool:
        """Tell whether the file is there."""
        ...


class StagedObject(Protocol):
    """An object that is being written before its name is known."""

    def write(self, data: bytes) -> None:
        """Append stored bytes."""
        ...

    def publish(self, path: str) -> bool:
        """Give the object its name; success means "it is there".

        Returns:
            Whether it was new.
        """
        ...


class Storage(ObjectSource, Protocol):
    """What a writer needs. All methods raise ``StorageFailed`` when refused."""

    def prepare(self) -> None:
        """Make the folders a repository wants, as far as they are missing."""
        ...

    def put(self, path: str, data: bytes) -> bool:
        """Store an object; success means "it is there", not "I put it there".

        Appears whole or not at all. It need not survive a power failure before the
        next ``sync``; what a power failure left incomplete is stored again. May be
        called from several threads.

        A storage may write in the background. Reading through the same storage then
        waits for the object; another sees it after ``sync``, which also is what says
        that it could not be written.

        Returns:
            Whether it was new, as far as is known already.
        """
        ...

    def stage(self) -> AbstractContextManager[StagedObject]:
        """Begin an object too large for memory; left unpublished, it leaves nothing."""
        ...

    def replace(self, path: str, data: bytes) -> None:
        """Replace a mutable file: afterwards all of the new one is there, on disk.

        Raises:
            RepositoryBusy: somebody else replaced it since it was read under the lock.
                Only where the lock alone cannot exclude that.
        """
        ...

    def sync(self) -> None:
        """Return once everything put before is on disk.

        Raises:
            StorageFailed: not all of it can be written.
        """
        ...

    def lock(
        self, *, patience_seconds: float | None = None
    ) -> AbstractContextManager[None]:
        """Hold the one lock under which mutable files change.

        It dies with its holder, whatever kills it, at once or after a short time.

        Args:
            patience_seconds: how long another holder is waited for; 0 to try once,
                ``None`` for the storage's own patience.

        Raises:
            RepositoryBusy: it was not free in that time.
        """
        ...


class ListedObject(NamedTuple):
    """An object as a listing shows it.

    Attributes:
        name: of the file, without the two digits of its folder.
        size: of what is stored, in bytes.
        mtime: when it was last put, whether it was new or not; unix time.
    """

    name: str
    size: int
    mtime: float


@runtime_checkable
class ManyLookups(Protocol):
    """What a storage has besides where a single look-up takes its time."""

    def first_missing(self, paths: Sequence[str]) -> str | None:
        """Return a file that is not there, ``None`` when all are.

        Raises:
            StorageFailed: it cannot be known.
        """
        ...


@runtime_checkable
class ManyReads(Protocol):
    """What a storage has besides where a single read takes its time.

    Attributes:
        reads_at_once: how many it serves, to as many threads.
    """

    reads_at_once: int


@runtime_checkable
class KnowsItsOwn(Protocol):
    """What a storage has besides that knows which objects were new when it put them.

    Where a put does not tell, as in most buckets, garbage collection has to find them.
    """

    def own_objects(self) -> Iterable[str]:
        """Yield the objects that were stored through it where nothing was."""
        ...

    def delete_own(self, paths: Sequence[str]) -> Sequence[str]:
        """Delete some of them, but for what others have found there since.

        To be called under the lock, with what no revision names.

        Returns:
            Those that were deleted.
        """
        ...

    def forget_own(self) -> None:
        """Let all of them be like everybody's: they are in use."""
        ...


def reads_at_once(source: ObjectSource) -> int:
    """Return how many reads are worth to be under way at once, if they are small."""
    return source.reads_at_once if isinstance(source, ManyReads) else 1


@runtime_checkable
class CollectableStorage(Storage, Protocol):
    """What garbage collection needs besides: it alone lists and deletes."""

    def clock(self) -> float:
        """Return the time by the clock that dates objects; unix time."""
        ...

    def list_objects(self, shard: str) -> Iterator[ListedObject]:
        """Yield the files of ``data/<shard>``, ``00`` to ``ff`` or ``txn``, unordered.

        May be called from several threads.
        """
        ...

    def delete_all(self, paths: Sequence[str], *, older_than: float) -> Sequence[str]:
        """Delete objects, but for what is gone, or was put at that time or later.

        To be called under the lock, with what a listing had found older.

        Returns:
            Those that were deleted.
        """
        ...
