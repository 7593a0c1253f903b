"""Directory trees as metadata, however large, in little memory.

A tree of a million entries would take 450 MB as values. Hardly ever is there anything
done to more than one directory of it; so all but those that were changed last lie
packed, and are unpacked, one at a time, for whoever looks at them.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass

from workers.cvmfs.values.dirent import Dirent
from workers.cvmfs.values.packed_entries import (
    pack,
    packed_count,
    packed_weight,
    unpack,
    weight,
)

MOST_LOOSE = 1 << 16
"""So many entries of a tree are not packed: up to here a tree costs 30 MB, and no time.
Usual images have fewer."""

# Where so many entries are unpacked for one that is used, packing them was in vain.
_MOST_UNPACKED = 32

Directory = Mapping[bytes, Dirent]
"""Entries by name, to be looked at. What changes them is ``Directories``."""


class Directories(MutableMapping[bytes, Directory]):
    """The directories of a tree by their paths.

    What they give is to be looked at, not to be changed: it may be a copy. ``put`` and
    ``drop`` change entries, and so does assigning a directory anew. Who wants a single
    entry asks ``find``, which leaves the directory unpacked for the next who does.

    Args:
        directories: copied.
        most_loose: so many entries are kept as they are; more are packed. It grows by
            itself where entries are used in no order, each in a directory that was
            packed just before: then it is time that is saved, and not memory.
    """

    def __init__(
        self,
        directories: Mapping[bytes, Directory] | None = None,
        *,
        most_loose: int = MOST_LOOSE,
    ) -> None:
        self._held: dict[bytes, bytes | dict[bytes, Dirent]] = {}
        # Those that are not packed, and whether they are of this tree alone. Some may
        # have gone since.
        self._loose: dict[bytes, bool] = {}
        self._loose_entries = 0
        self._uses = 0
        self._most_loose = most_loose
        self.update(directories or {})

    def __getitem__(self, path: bytes) -> Directory:
        held = self._held[path]
        return unpack(held) if isinstance(held, bytes) else held

    def __setitem__(self, path: bytes, entries: Directory) -> None:
        """Let a directory have these entries, which are copied."""
        self._held[path] = dict(entries)
        self._loose[path] = True
        self._used(len(entries), more=len(entries))

    def __delitem__(self, path: bytes) -> None:
        del self._held[path]

    def __contains__(self, path: object) -> bool:
        return path in self._held

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        return f"Directories({dict(self)!r})"

    def find(self, path: bytes, name: bytes) -> Dirent | None:
        """Return an entry, or ``None``, be it that there is no such directory."""
        if path not in self._held:
            return None
        dirent = self._unpacked(path).get(name)
        self._used(1)
        return dirent

    def put(self, path: bytes, name: bytes, dirent: Dirent) -> int:
        """Put an entry into a directory, in the place of one of the same name.

        Returns:
            How many entries the directory has now.
        """
        entries = self._own(path)
        entries[name] = dirent
        self._used(1, more=1)
        return len(entries)

    def drop(self, path: bytes, name: bytes) -> None:
        """Take an entry out of a directory, if it is there."""
        self._own(path).pop(name, None)
        self._used(1)

    def share(self, path: bytes, source: "Directories", source_path: bytes) -> None:
        """Let a directory have the entries that one of another tree has now.

        It costs nothing, neither time nor memory, until either of them is changed.
        """
        held = source._held[source_path]  # noqa: SLF001 - of our own class
        self._held[path] = held
        if isinstance(held, dict):
            self._loose[path] = False
            source._loose[source_path] = False  # noqa: SLF001

    def holds_the_same(
        self, path: bytes, other: "Directories", other_path: bytes
    ) -> bool:
        """Tell at once, unpacking nothing, that two directories have the same entries.

        Those that were shared, and not changed since, are told; others may not be.
        """
        held, theirs = self._held.get(path), other._held.get(other_path)  # noqa: SLF001 - of our own class
        if held is theirs:
            return held is not None
        return isinstance(held, bytes) and isinstance(theirs, bytes) and held == theirs

    def is_empty(self, path: bytes) -> bool:
        """Tell whether a directory that there is has no entries."""
        return not self._held[path]

    def sizes(self) -> dict[bytes, int]:
        """Return how many entries each directory has."""
        return {
            path: packed_count(held) if isinstance(held, bytes) else len(held)
            for path, held in self._held.items()
        }

    def weights(self) -> dict[bytes, int]:
        """Return what each directory weighs in a catalog; see ``weight``."""
        return {
            path: packed_weight(held) if isinstance(held, bytes) else weight(held)
            for path, held in self._held.items()
        }

    def keep_loose(self, entries: int) -> None:
        """Let no more than so many entries be kept as they are from now on.

        Where they are used in no order that grows again by itself, as ever.
        """
        self._most_loose = min(self._most_loose, entries)
        self._used(0)

    def pack(self) -> None:
        """Pack all directories, as no more is going to be done to them."""
        for path in self._loose:
            held = self._held.get(path)
            if isinstance(held, dict):
                self._held[path] = pack(held)
        self._loose.clear()
        self._loose_entries = self._uses = 0

    def _unpacked(self, path: bytes) -> dict[bytes, Dirent]:
        held = self._held[path]
        if isinstance(held, dict):
            return held
        self._held[path] = entries = unpack(held)
        self._loose[path] = True
        self._loose_entries += len(entries)
        return entries

    def _own(self, path: bytes) -> dict[bytes, Dirent]:
        """Return the entries of a directory, to be changed."""
        entries = self._unpacked(path)
        if not self._loose[path]:
            self._held[path] = entries = dict(entries)
            self._loose[path] = True
            self._loose_entries += len(entries)
        return entries

    def _used(self, count: int, *, more: int = 0) -> None:
        self._uses += count
        self._loose_entries += more
        if self._loose_entries > self._most_loose:
            if self._uses * _MOST_UNPACKED < self._loose_entries:
                self._most_loose *= 2
            self.pack()


@dataclass(slots=True, init=False)
class Tree:
    """A directory tree as metadata; the bytes of its files are in a content store.

    Attributes:
        root: the tree's own top directory.
        directories: for each directory its entries by name. Keys are paths relative
            to the root, without a leading slash; ``b""`` is the root itself. Every
            entry that is a directory has a key here, and no other key exists.
    """

    root: Dirent
    directories: Directories

    def __init__(
        self, root: Dirent, directories: Mapping[bytes, Directory] | None = None
    ) -> None:
        """Make a tree; of the root alone, if no directories are given.

        Args:
            root: see above.
            directories: copied, unless they are ``Directories``.
        """
        self.root = root
        if not isinstance(directories, Directories):
            given = {b"": {}} if directories is None else directories
            directories = Directories(given)
        self.directories = directories
