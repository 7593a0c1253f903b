"""What is to appear in a repository, and who can make it appear.

A plan is one image's worth of changes, in order; it comes into force whole or not at
all, in one revision.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from workers.cvmfs import Chunk, Content, Dirent, StreamedTree, Tree
from workers.errors import PermanentError, TransientError


class PublicationFailed(PermanentError):
    """A publication that no retry mends; the repository is as it was."""


class RepositoryUnavailable(TransientError):
    """The repository cannot be written now; no image is to blame.

    It is locked, full or out of reach, or its operator has something to mend.
    """


@dataclass(frozen=True, slots=True)
class TreeAt:
    """A whole directory tree, replacing what is at ``path``.

    Attributes:
        verify: is given the tree as it is being read back from what was written, before
            anybody sees it; what it raises stops the publication.
    """

    path: bytes
    tree: Tree
    verify: Callable[[StreamedTree], None]


@dataclass(frozen=True, slots=True)
class LinkAt:
    """A symlink, replacing what is at ``path``."""

    path: bytes
    target: bytes


@dataclass(frozen=True, slots=True)
class FileAt:
    """A small regular file, replacing what is at ``path``."""

    path: bytes
    data: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class ContentAt:
    """A regular file of any size whose content is stored already."""

    path: bytes
    content: Content
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class RemoveAt:
    """Nothing at ``path`` any more, nor below it."""

    path: bytes


@dataclass(frozen=True, slots=True)
class RequireAt:
    """Nothing is published unless something is at ``path`` by then."""

    path: bytes


@dataclass(frozen=True, slots=True)
class RecordsAt:
    """Some records of a file that lists those of many images.

    The others stay as they are then, whoever published them meanwhile.

    Attributes:
        path: of the file, a JSON array of objects.
        records: each a JSON object with an ``id``, in whose place it comes; it keeps
            the ``names`` of that one besides its own.
        names: that no other record has any more.
    """

    path: bytes
    records: tuple[str, ...]
    names: tuple[str, ...] = ()


Step = TreeAt | LinkAt | FileAt | ContentAt | RemoveAt | RequireAt | RecordsAt


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes that make one image live. Paths are absolute in the repository."""

    reference: str
    steps: tuple[Step, ...]


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
        root_catalog: hash text of its root catalog.
        losses: what the format could not hold, counted, in words.
    """

    repository: str
    revision: int
    root_catalog: str
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

    def read(self, path: bytes) -> bytes | None:
        """Return the content of a small published file, or ``None`` if it is not."""

    def tree(self, path: bytes) -> Tree | None:
        """Return the tree that was published at ``path``, or ``None``."""

    def content(self, dirent: Dirent) -> bytes:
        """Return the content of a small file of such a tree."""

    def pieces(self, dirent: Dirent) -> Iterator[bytes]:
        """Yield the content of a file of any size, published or about to be."""

    def has(self, path: bytes) -> bool:
        """Whether anything is published at ``path``."""

    def revision(self) -> int:
        """Return the number of the revision that readers see now."""

    def publish(self, plans: Sequence[Plan], fence: Fence) -> Publication:
        """Make all plans visible in one new revision, or none of them.

        Others may become visible in the same revision.

        Args:
            plans: in order.
            fence: what must hold then.

        Raises:
            RepositoryUnavailable: nothing is changed; trying again may help.
            PublicationFailed: nothing is changed; trying again will not help.
        """
