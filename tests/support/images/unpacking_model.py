"""A file system in memory that layers are unpacked into, one member after the other.

What unpacking tools do (umoci, containerd), as plainly as it can be said, to hold our
merge against: inodes, names that lead to them, and nothing clever. It shares no code
with what it checks.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.images import tars

Path = tuple[bytes, ...]


@dataclass(slots=True, eq=False)
class Inode:
    """A file, directory or symlink; hard links are one inode under several names."""

    type: str
    mode: int = 0o755
    uid: int = 0
    mtime: int = 0
    data: bytes = b""  # of files; target of symlinks
    entries: dict[bytes, "Inode"] = field(default_factory=dict)  # of directories


@dataclass(frozen=True, slots=True)
class Put:
    """A member that makes or replaces a file, directory or symlink."""

    path: Path
    type: str
    mode: int
    uid: int
    mtime: int
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Link:
    """A member that is a hard link."""

    path: Path
    target: Path


@dataclass(frozen=True, slots=True)
class Delete:
    """A whiteout."""

    path: Path


@dataclass(frozen=True, slots=True)
class Hide:
    """The mark of an opaque directory."""

    path: Path


Step = Put | Link | Delete | Hide


class LoopError(Exception):
    """A path leads through a loop of symlinks."""


class UnpackingModel:
    """The root file system of an image while it is being unpacked."""

    def __init__(self) -> None:
        self.root = Inode("directory")
        self._touched: set[Path] = set()

    def begin_layer(self) -> None:
        """What was there until now is of lower layers."""
        self._touched = set()

    def apply(self, step: Step) -> None:
        """Unpack one member."""
        match step:
            case Put(path):
                self._put(path, step)
            case Link(path, target):
                inode = self.lookup(self.real(target[:-1]) + target[-1:])
                assert inode is not None
                assert inode.type != "directory"
                self._place(path, inode)
            case Delete(path):
                self._delete(self.real(path[:-1]) + path[-1:])
            case Hide(path):
                place = self.real(path)
                hidden = self.lookup(place)
                if hidden is not None and hidden.type == "directory":
                    for name in list(hidden.entries):
                        self._delete((*place, name))

    def real(self, path: Path, passed: set[Path] | None = None) -> Path:
        """Return where a directory's path leads, symlinks followed, there or not.

        Args:
            path: may begin with ``..``.
            passed: gets every place on the way.
        """
        waiting = list(reversed(path))
        at: Path = ()
        hops = 0
        while waiting:
            part = waiting.pop()
            if part == b"..":
                at = at[:-1]
                continue
            inode = self.lookup((*at, part))
            if passed is not None:
                passed.add((*at, part))
            if inode is None or inode.type != "symlink":
                at = (*at, part)
                continue
            hops += 1
            if hops > 40:
                raise LoopError
            if inode.data.startswith(b"/"):
                at = ()
            waiting += [p for p in reversed(inode.data.split(b"/")) if p not in b"."]
        return at

    def lookup(self, place: Path) -> Inode | None:
        """Return what is at a place, no symlinks followed."""
        inode: Inode | None = self.root
        for name in place:
            if inode is None:
                return None
            inode = inode.entries.get(name)
        return inode

    def walk(self) -> Iterator[tuple[Path, Inode]]:
        """Yield everything with its place."""
        waiting: list[tuple[Path, Inode]] = [((), self.root)]
        while waiting:
            place, inode = waiting.pop()
            yield place, inode
            waiting += [
                ((*place, name), below) for name, below in inode.entries.items()
            ]

    def is_touched(self, place: Path) -> bool:
        """Whether this layer has put something there, or below."""
        return place in self._touched

    def _put(self, path: Path, step: Put) -> None:
        new = Inode(step.type, step.mode, step.uid, step.mtime, step.data)
        if not path:
            new.entries, self.root = self.root.entries, new
            return
        place = self.real(path[:-1]) + path[-1:]
        old = self.lookup(place)
        if old is not None and old.type == new.type == "directory":
            new.entries = old.entries
        self._place(path, new)

    def _place(self, path: Path, inode: Inode) -> None:
        place = self.real(path[:-1]) + path[-1:]
        directory = self.root
        for name in place[:-1]:
            below = directory.entries.get(name)
            if below is None or below.type != "directory":
                below = directory.entries[name] = Inode("directory")
            directory = below
        directory.entries[place[-1]] = inode
        self._touched |= {place[:end] for end in range(1, len(place) + 1)}

    def _delete(self, place: Path) -> None:
        """Delete what lower layers have at a place, and nothing of this one."""
        inode = self.lookup(place)
        if inode is None:
            return
        if place not in self._touched:
            parent = self.lookup(place[:-1])
            assert parent is not None
            del parent.entries[place[-1]]
            return
        for name in list(inode.entries):
            self._delete((*place, name))


def entry_of(step: Step) -> bytes:
    """Return the tar entry that says the same."""
    match step:
        case Delete(path):
            return tars.whiteout(b"/".join(path))
        case Hide(path):
            return tars.opaque(b"/".join(path))
        case Link(path, target):
            return tars.hard_link(b"/".join(path), b"/".join(target))
    name, said = b"/".join(step.path) or b"./", dataclasses.asdict(step)
    fields = tars.Fields(mode=said["mode"], uid=said["uid"], mtime=said["mtime"])
    if step.type == "directory":
        return tars.directory(name, **fields)
    if step.type == "symlink":
        return tars.symlink(name, step.data, **fields)
    return tars.file(name, step.data, **fields)
