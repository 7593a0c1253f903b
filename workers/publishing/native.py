"""Publishing by writing the repository format itself, from any unprivileged process.

No FUSE, no overlay, no release manager: catalogs of trees are prepared while anyone
else commits, and the lock covers only the few small catalogs that lead to them.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from workers.cvmfs import (
    Change,
    Chunk,
    Content,
    EditRecords,
    GraftTree,
    PutFile,
    PutLink,
    RemovePath,
    Repository,
    RequirePath,
    Revision,
    StorageFailed,
)
from workers.cvmfs.garbage.unpublished import Unpublished
from workers.cvmfs.objects.content_sink import CHUNK_BYTES
from workers.cvmfs.objects.objects import BLOCK_BYTES, open_content
from workers.publishing.group import GroupCommit
from workers.publishing.plan import (
    ContentAt,
    FileAt,
    LinkAt,
    Plan,
    RecordsAt,
    RemoveAt,
    RequireAt,
    Step,
    TreeAt,
)
from workers.publishing.published_snapshot import PublishedSnapshot, as_publisher_error
from workers.publishing.publisher import (
    ContentSink,
    Fence,
    Prepared,
    Publication,
    PublishedTree,
    RepositoryUnavailable,
)
from workers.publishing.together import Together

log = logging.getLogger(__name__)


class NativeSink:
    """The repository's content store, its errors ours; see ``ContentSink``."""

    piece_size = CHUNK_BYTES

    def __init__(self, fqrn: str, repository: Repository) -> None:
        self._fqrn = fqrn
        self._sink = repository.sink
        self._storage = repository.storage

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

    def pieces(self, content: Content) -> Iterator[bytes]:
        """Yield the bytes of a content that was stored here."""
        with (
            as_publisher_error(self._fqrn),
            open_content(self._storage, content) as stream,
        ):
            while block := stream.read(BLOCK_BYTES):
                yield block


@dataclass(frozen=True, slots=True)
class NativePlan:
    """A plan whose catalogs are stored; see ``Prepared``.

    Attributes:
        changes: that a commit has to make.
        losses: what the format could not hold, counted, in words.
    """

    changes: tuple[Change, ...]
    losses: tuple[str, ...]


class NativePublisher:
    """Publishes to one repository whose storage and keys we hold.

    Args:
        fqrn: names the repository in messages.
        open_repository: opens it; called when it is first needed, so that a command
            that needs another repository does not fail for this one.
        together: what processes commit together by; ``None`` if each commits for
            itself.
    """

    holds_whiteouts = True

    def __init__(
        self,
        fqrn: str,
        open_repository: Callable[[], Repository],
        together: Together | None = None,
    ) -> None:
        self._fqrn = fqrn
        self._open = open_repository
        self._together = together
        self._opened: Repository | None = None
        self._unpublished: Unpublished | None = None

    @property
    def sink(self) -> ContentSink:
        """Where the content of files goes; see ``ContentSink``."""
        return NativeSink(self._fqrn, self._repository)

    def published(self) -> PublishedTree:
        """Return the revision that readers see now."""
        with as_publisher_error(self._fqrn):
            return PublishedSnapshot(self._fqrn, self._repository.read())

    def prepare(self, plan: Plan) -> "NativePlan":
        """Write the catalogs of a plan's trees, and verify them; see ``Publisher``."""
        losses: list[str] = []
        with as_publisher_error(self._fqrn):
            changes = [self._change(step, losses) for step in plan.steps]
        return NativePlan(tuple(changes), tuple(losses))

    def commit(self, prepared: Sequence[Prepared], fence: Fence) -> Publication:
        """Make plans visible in one new revision; see ``Publisher``."""
        plans = [plan for plan in prepared if isinstance(plan, NativePlan)]
        if len(plans) < len(prepared):
            raise TypeError("a plan was prepared by another publisher")
        with as_publisher_error(self._fqrn):
            changes = [change for plan in plans for change in plan.changes]
            revision = self._commit(changes, fence)
            if self._unpublished is not None:
                self._unpublished.begin()
        losses = tuple(loss for plan in plans for loss in plan.losses)
        return Publication(self._fqrn, revision.number, losses)

    def discard(self) -> None:
        """Delete what was stored and is of no use; see ``Publisher``."""
        if self._opened is None or self._unpublished is None:
            return
        with as_publisher_error(self._fqrn):
            deleted = self._unpublished.take_back(now=int(time.time()))
        # What it knows to be there may be gone.
        self._opened.sink.forget()
        if deleted:
            log.info("repository=%s objects=%d taken back", self._fqrn, deleted)

    @property
    def _repository(self) -> Repository:
        if self._opened is None:
            with as_publisher_error(self._fqrn):
                opened = self._open()
                self._unpublished = Unpublished(self._fqrn, opened.storage, opened.keys)
            self._opened = opened
        return self._opened

    def _commit(self, changes: Sequence[Change], fence: Fence) -> Revision:
        repository = self._repository
        if self._together is None:
            return repository.commit(changes, now=int(time.time()), check=fence.check)
        group = GroupCommit(repository, self._together, repository.keys.secret())
        return group.commit(repository.batch(changes), fence)

    def _change(self, step: Step, losses: list[str]) -> Change:
        match step:
            case TreeAt():
                return self._graft(step, losses)
            case LinkAt():
                return PutLink(step.path, step.target)
            case FileAt():
                content = self._repository.sink.put_bytes(step.data)
                return PutFile(step.path, content, step.mode)
            case ContentAt():
                return PutFile(step.path, step.content, step.mode)
            case RemoveAt():
                return RemovePath(step.path)
            case RequireAt():
                return RequirePath(step.path)
            case RecordsAt():
                return EditRecords(step.path, step.records, step.names)
        assert_never(step)

    def _graft(self, step: TreeAt, losses: list[str]) -> Change:
        prepared = self._repository.prepare(step.path, step.tree)
        losses += [f"{count} {what}" for what, count in prepared.losses.items()]
        step.verify(self._repository.read_prepared(prepared))
        return GraftTree(step.path, prepared)
