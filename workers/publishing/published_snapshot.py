"""A published revision as runs read it: a snapshot, its errors turned into ours.

Shared by all publishers, since all publish the same format: only where the objects come
from differs.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from workers.cvmfs import (
    ContentCollected,
    Directory,
    Dirent,
    FormatError,
    HeadUnreadable,
    HeadWentBack,
    InvalidKeys,
    NotFound,
    NotTrusted,
    RepositoryBusy,
    Snapshot,
    StorageFailed,
    Tree,
    WhitelistExpired,
)
from workers.publishing.publisher import PublicationFailed, RepositoryUnavailable


class PublishedSnapshot:
    """One revision; see ``PublishedTree``.

    Args:
        fqrn: names the repository in messages.
        snapshot: reads it.
    """

    def __init__(self, fqrn: str, snapshot: Snapshot) -> None:
        self._fqrn = fqrn
        self._snapshot = snapshot

    @property
    def revision(self) -> int:
        """The number of the revision."""
        with as_publisher_error(self._fqrn):
            return self._snapshot.revision

    def lookup(self, path: bytes) -> Dirent | None:
        """Return the entry at ``path``."""
        with as_publisher_error(self._fqrn):
            return self._snapshot.lookup(path)

    def listdir(self, path: bytes) -> Directory:
        """Return the entries of a directory by name, sorted."""
        with as_publisher_error(self._fqrn):
            return self._snapshot.listdir(path)

    def walk(self, path: bytes = b"") -> Iterator[tuple[bytes, Dirent]]:
        """Yield all at and below ``path``, each directory before its entries."""
        with as_publisher_error(self._fqrn):
            yield from self._snapshot.walk(path)

    def resolve(self, path: bytes) -> bytes:
        """Return the path that remains when all symlinks in ``path`` are followed."""
        with as_publisher_error(self._fqrn):
            return self._snapshot.resolve(path)

    def read(self, dirent: Dirent) -> bytes:
        """Return the content of a small regular file."""
        with as_publisher_error(self._fqrn):
            return self._snapshot.read(dirent)

    def pieces(self, dirent: Dirent) -> Iterator[bytes]:
        """Yield the content of a regular file of any size."""
        with as_publisher_error(self._fqrn):
            yield from self._snapshot.pieces(dirent)

    def tree(self, path: bytes) -> Tree:
        """Return the whole tree that was published at ``path``."""
        with as_publisher_error(self._fqrn):
            return self._snapshot.tree(path)


@contextmanager
def as_publisher_error(fqrn: str) -> Iterator[None]:
    """Raise the format library's errors in the block as a publisher's.

    Raises:
        RepositoryUnavailable: its operator has something to mend, or a retry helps.
        PublicationFailed: any other ``FormatError``.
    """
    try:
        yield
    except WhitelistExpired as error:
        raise RepositoryUnavailable(
            f"{fqrn}: {error}; `repository resign {fqrn}` does it"
        ) from error
    except ContentCollected as error:
        # It is stored again by the next attempt, which takes what is there by then.
        raise RepositoryUnavailable(
            f"{fqrn}: garbage was collected during this run: {error}"
        ) from error
    except (
        HeadUnreadable,
        HeadWentBack,
        InvalidKeys,
        NotTrusted,
        RepositoryBusy,
        StorageFailed,
    ) as error:
        # No image is to blame for these; once mended, all go on by themselves.
        raise RepositoryUnavailable(f"{fqrn}: {error}") from error
    except NotFound as error:
        raise RepositoryUnavailable(
            f"{fqrn}: {error}; is its storage mounted? If it was never there,"
            " `repository init` makes it"
        ) from error
    except FormatError as error:
        raise PublicationFailed(f"{fqrn}: {error}") from error
