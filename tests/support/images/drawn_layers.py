"""Layers that hypothesis draws, with the file system that they make up."""

from hypothesis import event, note
from hypothesis import strategies as st

from tests.support.images.unpacking_model import (
    Delete,
    Hide,
    Link,
    LoopError,
    Path,
    Put,
    Step,
    UnpackingModel,
    entry_of,
)

NAMES = st.sampled_from([b"a", b"b", b"c"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(tuple)
TARGETS = st.one_of(
    PATHS.map(b"/".join),
    PATHS.map(lambda path: b"/" + b"/".join(path)),
    PATHS.map(lambda path: b"../" + b"/".join(path)),
    st.sampled_from([b"/", b".", b"..", b"./a/."]),
)


class NotDrawn(Exception):
    """A member whose meaning no two tools agree on."""


class DrawnLayers:
    """Draws the members of layers that mean the same to every tool.

    A tar can be written whose meaning hangs on its order in ways that no tool writes
    and no specification decides: one that calls a directory by two names at once, or
    deletes a directory after having passed through it. Such members are not drawn.
    """

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        self.system = UnpackingModel()
        # Directories that the layer enters through lower symlinks, by where they are:
        # what it calls them.
        self._called: dict[Path, Path] = {}
        self._kept: set[Path] = set()  # what it passes on the way there
        self._named: set[Path] = set()  # directories that the layer has as members
        self._lower_links: set[Path] = set()

    def layer(self) -> list[bytes]:
        """Draw one layer; ``system`` is then as if it had been unpacked."""
        note("layer")
        self.system.begin_layer()
        self._called, self._kept = {}, set()
        self._named, self._lower_links = set(), set()
        entries = []
        kinds = [self._put, self._put, self._put, self._link, self._delete, self._hide]
        for kind in self._data.draw(st.lists(st.sampled_from(kinds), max_size=8)):
            try:
                step = kind()
            except (NotDrawn, LoopError):
                event("not drawn")
                continue
            note(str(step))
            self.system.apply(step)
            entries.append(entry_of(step))
        return entries

    def _put(self) -> Step:
        kind = self._data.draw(st.sampled_from(["file", "directory", "symlink"]))
        path = self._data.draw(PATHS)
        if kind == "directory" and self._data.draw(st.integers(0, 9)) == 0:
            path = ()
        place = self._enter(path[:-1]) + path[-1:]
        old = self.system.lookup(place)
        both_are_directories = old is not None and old.type == kind == "directory"
        if place in self._kept and not both_are_directories:
            raise NotDrawn
        data = b""
        if kind == "file":
            data = self._data.draw(st.binary(max_size=3))
        elif kind == "symlink":
            data = self._data.draw(TARGETS)
        elif path:
            self._named.add(place)
        mode = (
            0o777
            if kind == "symlink"
            else self._data.draw(st.sampled_from([0o7, 0o70]))
        )
        owner, mtime = (
            self._data.draw(st.integers(0, 9)),
            self._data.draw(st.integers(0, 9)),
        )
        return Put(path, kind, mode, owner, mtime, data)

    def _link(self) -> Step:
        path = self._data.draw(PATHS)
        place = self._enter(path[:-1]) + path[-1:]
        files = [
            (at, inode) for at, inode in self.system.walk() if inode.type != "directory"
        ]
        if place in self._kept or not files:
            raise NotDrawn
        at, _ = self._data.draw(
            st.sampled_from(sorted(files, key=lambda file: file[0]))
        )
        if at == place[: len(at)]:
            raise NotDrawn
        if not self.system.is_touched(at) or at in self._lower_links:
            event("hard link into a lower layer")
            self._lower_links.add(place)
        # Tools call the target what they have called it before.
        return Link(path, self._called.get(at[:-1], at[:-1]) + at[-1:])

    def _delete(self) -> Step:
        path = self._data.draw(PATHS)
        place = self._enter(path[:-1]) + path[-1:]
        self._spare(place)
        return Delete(path)

    def _hide(self) -> Step:
        path = self._data.draw(st.one_of(st.just(()), PATHS))
        place = self._enter(path)
        inode = self.system.lookup(place)
        if inode is not None:
            for name in inode.entries:
                self._spare((*place, name))
        return Hide(path)

    def _spare(self, place: Path) -> None:
        """Do not delete what the layer passes through."""
        if any(kept[: len(place)] == place for kept in self._kept):
            raise NotDrawn
        for at, inode in self.system.walk():
            if (
                at[: len(place)] == place
                and inode.type == "directory"
                and self.system.is_touched(at)
                and at not in self._named
            ):
                raise NotDrawn

    def _enter(self, path: Path) -> Path:
        """Return where a directory is, if the layer may call it so."""
        called: Path = ()
        real: Path = ()
        waiting = list(reversed(path))
        hops = 0
        while waiting:
            part = waiting.pop()
            if part == b"..":
                if called != real:
                    raise NotDrawn
                called = real = real[:-1]
                continue
            place = (*real, part)
            inode = self.system.lookup(place)
            called = (*called, part)
            if inode is None or inode.type != "symlink":
                real = place
            elif self.system.is_touched(place):
                hops += 1
                if place in self._lower_links or hops > 40:
                    raise NotDrawn
                # The layer's own symlink: it says itself where this leads.
                event("through a symlink of the layer")
                called = () if inode.data.startswith(b"/") else called[:-1]
                real = () if inode.data.startswith(b"/") else real
                parts = reversed(inode.data.split(b"/"))
                waiting += [part for part in parts if part not in (b"", b".")]
            else:
                real = self._through(place, called)
            if self._called.get(real, real) != called:
                raise NotDrawn
        return real

    def _through(self, symlink: Path, called: Path) -> Path:
        """Go through a symlink of a lower layer."""
        passed: set[Path] = set()
        real = self.system.real(symlink, passed)
        passed |= {place[:end] for place in passed for end in range(1, len(place))}
        if self._called.get(real) == called:
            return real
        if not real:
            raise NotDrawn  # every other name begins at the root, too
        for place in passed:
            inode = self.system.lookup(place)
            is_file = inode is not None and inode.type == "file"
            if self.system.is_touched(place) or is_file:
                raise NotDrawn
        event("through a lower symlink")
        self._kept |= passed
        self._called[real] = called
        return real
