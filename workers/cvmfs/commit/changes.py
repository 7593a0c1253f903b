"""What a commit can be asked to do, each at one path.

A path that does not exist yet gets its directories made; whatever is at the path is
replaced, be it a file or a whole directory. Asking for what is there already changes
nothing.
"""

from dataclasses import dataclass

from workers.cvmfs.catalog.prepare import PreparedTree
from workers.cvmfs.catalog.schema import MARKER, RESERVED_ROOT_NAME
from workers.cvmfs.errors import InvalidChange
from workers.cvmfs.values.dirent import Content
from workers.cvmfs.values.paths import check_path, is_below, printable


@dataclass(frozen=True, slots=True)
class GraftTree:
    """Mount a prepared tree at the path it was prepared for."""

    path: bytes
    prepared: PreparedTree


@dataclass(frozen=True, slots=True)
class PutLink:
    """Put a symbolic link.

    Attributes:
        path: of the link.
        target: as ``readlink`` shall give it.
        uid: numeric owner.
        gid: numeric group.
        mtime: in seconds; ``None`` for the time of the commit, which then does not
            count as a difference to what is there.
    """

    path: bytes
    target: bytes
    uid: int = 0
    gid: int = 0
    mtime: int | None = None


@dataclass(frozen=True, slots=True)
class PutFile:
    """Put a regular file whose content is stored already.

    Attributes:
        path: of the file.
        content: as the sink returned it.
        mode: permission bits.
        uid: numeric owner.
        gid: numeric group.
        mtime: as in ``PutLink``.
    """

    path: bytes
    content: Content
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int | None = None


@dataclass(frozen=True, slots=True)
class RemovePath:
    """Remove what is at a path, with all below it; nothing there is no error."""

    path: bytes


@dataclass(frozen=True, slots=True)
class EditRecords:
    """Change some records of a file that lists many; see ``record_file.py``.

    What the other records are is decided by what is there when it is committed. A file
    that does not exist is made.

    Attributes:
        path: of the file, whose owner is root.
        records: to be put, each a JSON object with an ``id``, as text.
        names: that no record has before these are put.
    """

    path: bytes
    records: tuple[str, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RequirePath:
    """Change nothing, and have no part in the commit if nothing is at a path.

    For what a change relies on that was there when it was prepared.
    """

    path: bytes


Change = GraftTree | PutLink | PutFile | RemovePath | EditRecords | RequirePath


def check_target(path: bytes) -> None:
    """Refuse paths at which no change can be made.

    Raises:
        InvalidPath: not a path.
        InvalidChange: the root, the reserved ``/.cvmfs``, or the marker of a nested
            catalog.
    """
    check_path(path)
    if (
        not path
        or is_below(path, b"/" + RESERVED_ROOT_NAME)
        or path.endswith(b"/" + MARKER)
    ):
        raise InvalidChange(f"{printable(path)} cannot be changed")
