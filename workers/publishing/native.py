"""Publishing by writing the repository format itself, from any unprivileged process.

No FUSE, no overlay, no release manager: catalogs of trees are prepared while anyone
else commits, and the lock covers only the few small catalogs that lead to them.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from workers.cvmfs import (
    Change,
    Chunk,
    Content,
    ContentCollected,
    Dirent,
    EditRecords,
    FormatError,
    GraftTree,
    InvalidKeys,
    NotFound,
    NotTrusted,
    PutFile,
    PutLink,
    RemovePath,
    Repository,
    RepositoryBusy,
    RequirePath,
    Revision,
    StorageFailed,
    Tree,
    WhitelistExpired,
)
from workers.cvmfs.objects.content_sink import CHUNK_BYTES
from workers.cvmfs.objects.objects import BLOCK_BYTES, open_content
from workers.publishing.group import GroupCommit, ReadyQueue
from workers.publishing.plan import (
    ContentAt,
    ContentSink,
    Fence,
    FileAt,
    LinkAt,
    Plan,
    Publication,
    PublicationFailed,
    RecordsAt,
    RepositoryUnavailable,
    RequireAt,
    Step,
    TreeAt,
)


class NativeSink:
    """The repository's content store, its errors translated; see ``ContentSink``."""

    piece_size = CHUNK_BYTES

    def __init__(self, fqrn: str, repository: Repository) -> None:
        self._fqrn = fqrn
        self._sink = repository.sink

    def put_bytes(self, data: bytes) -> Content:
        """Store the whole content of one file."""
        try:
            return self._sink.put_bytes(data)
        except StorageFailed as error:
            raise RepositoryUnavailable(f"{self._fqrn}: {error}") from error

    def put_piece(self, data: bytes, offset: int) -> Chunk:
        """Store one piece of a large file."""
        try:
            return self._sink.put_chunk(data, offset)
        except StorageFailed as error:
            raise RepositoryUnavailable(f"{self._fqrn}: {error}") from error

    def join_pieces(self, pieces: tuple[Chunk, ...]) -> Content:
        """Return the content that the stored pieces make up."""
        return Content(None, sum(piece.size for piece in pieces), chunks=pieces)


class NativePublisher:
    """Publishes to one repository whose storage and keys we hold.

    Args:
        fqrn: names the repository in messages.
        open_repository: opens it; called when it is first needed, so that a command
            that needs another repository does not fail for this one.
        queue: of batches that are ready, by which processes commit together; ``None``
            if each commits for itself.
    """

    holds_whiteouts = True

    def __init__(
        self,
        fqrn: str,
        open_repository: Callable[[], Repository],
        queue: ReadyQueue | None = None,
    ) -> None:
        self._fqrn = fqrn
        self._open = open_repository
        self._queue = queue
        self._opened: Repository | None = None

    @property
    def sink(self) -> ContentSink:
        """Where the content of files goes; see ``ContentSink``."""
        return NativeSink(self._fqrn, self._repository)

    def read(self, path: bytes) -> bytes | None:
        """Return the content of a small published file, or ``None``."""
        with _translated(self._fqrn):
            snapshot = self._repository.read()
            dirent = snapshot.lookup(path)
            if dirent is None or dirent.content is None:
                return None
            return snapshot.read(dirent)

    def tree(self, path: bytes) -> Tree | None:
        """Return the tree that was published at ``path``, or ``None``."""
        with _translated(self._fqrn):
            snapshot = self._repository.read()
            if snapshot.lookup(path) is None:
                return None
            return snapshot.tree(path)

    def content(self, dirent: Dirent) -> bytes:
        """Return the content of a small file of such a tree."""
        with _translated(self._fqrn):
            return self._repository.read().read(dirent)

    def pieces(self, dirent: Dirent) -> Iterator[bytes]:
        """Yield the content of a file; see ``Publisher``. For any thread."""
        if dirent.content is None:
            return
        storage = self._repository.storage
        with _translated(self._fqrn), open_content(storage, dirent.content) as stream:
            while block := stream.read(BLOCK_BYTES):
                yield block

    def has(self, path: bytes) -> bool:
        """Whether anything is published at ``path``."""
        with _translated(self._fqrn):
            return self._repository.read().lookup(path) is not None

    def revision(self) -> int:
        """Return the number of the current revision."""
        with _translated(self._fqrn):
            return self._repository.head().revision

    def publish(self, plans: Sequence[Plan], fence: Fence) -> Publication:
        """Make all plans visible in one new revision; see ``Publisher``."""
        losses: list[str] = []
        with _translated(self._fqrn):
            changes = [
                self._change(step, losses) for plan in plans for step in plan.steps
            ]
            revision = self._commit(changes, fence)
        return Publication(
            self._fqrn, revision.number, str(revision.root_catalog), tuple(losses)
        )

    @property
    def _repository(self) -> Repository:
        if self._opened is None:
            with _translated(self._fqrn):
                self._opened = self._open()
        return self._opened

    def _commit(self, changes: Sequence[Change], fence: Fence) -> Revision:
        repository = self._repository
        if self._queue is None:
            return repository.commit(changes, now=int(time.time()), check=fence.check)
        together = GroupCommit(repository, self._queue)
        return together.commit(repository.batch(changes), fence)

    def _change(self, step: Step, losses: list[str]) -> Change:
        if isinstance(step, TreeAt):
            prepared = self._repository.prepare(step.path, step.tree)
            losses += [f"{count} {what}" for what, count in prepared.losses.items()]
            step.verify(self._repository.read_prepared(prepared))
            return GraftTree(step.path, prepared)
        if isinstance(step, LinkAt):
            return PutLink(step.path, step.target)
        if isinstance(step, FileAt):
            content = self._repository.sink.put_bytes(step.data)
            return PutFile(step.path, content, step.mode)
        if isinstance(step, ContentAt):
            return PutFile(step.path, step.content, step.mode)
        if isinstance(step, RequireAt):
            return RequirePath(step.path)
        if isinstance(step, RecordsAt):
            return EditRecords(step.path, step.records, step.names)
        return RemovePath(step.path)


@contextmanager
def _translated(fqrn: str) -> Iterator[None]:
    """Turn the format library's errors into those that the job understands."""
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
    except (RepositoryBusy, StorageFailed, InvalidKeys, NotTrusted) as error:
        # No image is to blame for these; once mended, all go on by themselves.
        raise RepositoryUnavailable(f"{fqrn}: {error}") from error
    except NotFound as error:
        raise RepositoryUnavailable(
            f"{fqrn}: {error}; is it there? `repository init` makes it"
        ) from error
    except FormatError as error:
        raise PublicationFailed(f"{fqrn}: {error}") from error
