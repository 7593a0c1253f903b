"""A way to publish to one CVMFS repository: what each of them promises.

Three calls, apart from each other: contents are stored (``sink``), the catalogs of a
plan are written and read back (``prepare``), and what is prepared becomes visible
(``commit``). Reading is one thing for all of them: a ``PublishedTree``.

Every implementation passes ``tests/contracts/test_publisher.py``.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from workers.cvmfs import Chunk, Content, Directory, Dirent, Tree
from workers.errors import PermanentError, TransientError
from workers.publishing.plan import Plan


class PublicationFailed(PermanentError):
    """A publication that no retry mends; the repository is as it was."""


class RepositoryUnavailable(TransientError):
    """The repository cannot be written now; no image is to blame.

    It is locked, full or out of reach, or its operator has something to mend.
    """


@dataclass(frozen=True, slots=True)
class Fence:
    """What must hold at the moment when plans become visible.

    Attributes:
        check: asked when everything is ready and nobody else can publish; what it
            raises leaves all as it was.
        token: by which another process can ask the same, so that it may publish for
            us; ``None`` when none can.
    """

    check: Callable[[], None]
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """The result of publishing.

    Attributes:
        repository: fully qualified repository name.
        revision: the one that readers see the plans in.
        losses: what the format could not hold, counted, in words.
    """

    repository: str
    revision: int
    losses: tuple[str, ...] = ()


class ContentSink(Protocol):
    """Where the bytes of files go. Every method is safe to call from many threads.

    Storing twice is storing once: success means "it is there".

    Attributes:
        piece_size: files up to this many bytes are stored whole, larger ones as
            pieces of this size.
    """

    piece_size: int

    def put_bytes(self, data: bytes) -> Content:
        """Store the whole content of one file."""

    def put_piece(self, data: bytes, offset: int) -> Chunk:
        """Store one piece of a large file."""

    def join_pieces(self, pieces: tuple[Chunk, ...]) -> Content:
        """Return the content that the stored pieces make up, in order."""

    def pieces(self, content: Content) -> Iterator[bytes]:
        """Yield the bytes of a content that was stored here."""


class PublishedTree(Protocol):
    """One revision of a repository, to be read; its root is ``b""``.

    Not to be shared between threads, but for ``read`` and ``pieces``.

    A ``cvmfs.Snapshot`` is one, and raises FormatError: NotFound where there is nothing
    at a path. A publisher's is for runs, and raises RepositoryUnavailable or
    PublicationFailed instead: ask ``lookup`` whether something is there.
    """

    @property
    def revision(self) -> int:
        """The number of the revision."""

    def lookup(self, path: bytes) -> Dirent | None:
        """Return the entry at ``path``; symlinks on the way are not followed."""

    def listdir(self, path: bytes) -> Directory:
        """Return the entries of a directory by name, sorted."""

    def walk(self, path: bytes = b"") -> Iterator[tuple[bytes, Dirent]]:
        """Yield all at and below ``path``, each directory before its entries."""

    def resolve(self, path: bytes) -> bytes:
        """Return the path that remains when all symlinks in ``path`` are followed."""

    def read(self, dirent: Dirent) -> bytes:
        """Return the content of a small regular file."""

    def pieces(self, dirent: Dirent) -> Iterator[bytes]:
        """Yield the content of a regular file of any size."""

    def tree(self, path: bytes) -> Tree:
        """Return the whole tree that was published at ``path``."""


class Prepared(Protocol):
    """A plan that is ready: only its publisher knows what it consists of.

    Attributes:
        losses: what the format could not hold, counted, in words.
    """

    @property
    def losses(self) -> Sequence[str]:
        """See above."""


class Publisher(Protocol):
    """One way to write to one CVMFS repository.

    Attributes:
        holds_whiteouts: whether character devices 0:0 and attributes of overlays
            arrive as they are, without which layers would show what they delete.
    """

    holds_whiteouts: bool

    @property
    def sink(self) -> ContentSink:
        """Where the content of the plans' trees has to be put first."""

    def published(self) -> PublishedTree:
        """Return the revision that readers see now."""

    def prepare(self, plan: Plan) -> Prepared:
        """Do all of a plan that nobody sees, its verification included.

        Raises:
            RepositoryUnavailable: trying again may help.
            PublicationFailed: trying again will not help.
        """

    def commit(self, prepared: Sequence[Prepared], fence: Fence) -> Publication:
        """Make prepared plans visible in one new revision, or none of them.

        Others may become visible in the same revision. Plans that are in force already
        make no new one.

        Args:
            prepared: by this publisher, in order.
            fence: what must hold then; what it raises is raised.

        Raises:
            RepositoryUnavailable: nothing is changed; trying again may help.
            PublicationFailed: nothing is changed; trying again will not help.
        """

    def discard(self) -> None:
        """Delete what was stored and did not become visible, for a run that failed.

        Nothing that anybody else may rely on: what is not surely ours alone is left to
        whoever collects garbage. What was prepared must not be committed afterwards.

        Raises:
            RepositoryUnavailable: some of it is left.
            PublicationFailed: some of it is left.
        """


def publish(publisher: Publisher, plans: Sequence[Plan], fence: Fence) -> Publication:
    """Prepare plans and make all of them visible in one new revision, or none."""
    return publisher.commit([publisher.prepare(plan) for plan in plans], fence)
