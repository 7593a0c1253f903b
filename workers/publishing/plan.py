"""What is to appear in a repository.

A plan is one image's worth of changes, in order; it comes into force whole or not at
all, in one revision.
"""

from collections.abc import Callable
from dataclasses import dataclass

from workers.cvmfs import Content, StreamedTree, Tree


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
