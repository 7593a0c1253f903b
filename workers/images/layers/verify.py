"""What an image must look like, derived a second time and in another way.

``merge`` is fast; a mistake in it would publish a wrong image that looks fine. So
before a tag moves, what the written catalogs say is compared with what this module
derives from the same layers. It shares no code with ``merge`` and its helpers: it first
finds out where everything of a layer lies, then takes out what the layer hides or
replaces, then puts in what it has.

What was written comes one directory at a time and is never there as a whole; what is
expected shares the layers' own directories, as far as no other layer changes them.

Pure; costs about as much as a merge that has nothing to take over whole.
"""

import stat
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from workers.cvmfs import Directories, Directory, Dirent, StreamedTree
from workers.errors import TransientError
from workers.images.layers.expected_symlinks import ExpectedSymlinks
from workers.images.layers.layer_tree import LayerTree
from workers.images.layers.steps import Steps

_MARKER = b".cvmfscatalog"
# What a catalog can hold of an extended attribute (workers/cvmfs/values/xattrs.py).
_XATTR_BYTES = 255
_XATTRS = 255
_MOST_SHOWN = 3
_UNNAMED = Dirent(stat.S_IFDIR | 0o755)


class VerificationFailed(TransientError):
    """The written catalogs do not say what the layers say; nothing was published.

    A retry builds everything anew: a damaged disk or a bug, but not the image's fault.
    """


# A file with several names: the number of the layer, and of a group in it.
_File = tuple[int, int]


class _Table:
    """What is expected.

    Attributes:
        root: the top directory itself.
        directories: the entries of each directory, by its path; none before the one
            that it is in.
        files: by path which file it is a name of, where there may be others.
    """

    def __init__(self) -> None:
        self.root = _UNNAMED
        self.directories = Directories({b"": {}})
        self.files: dict[bytes, _File] = {}

    def get(self, path: bytes) -> Dirent | None:
        """Return what is at a path."""
        if not path:
            return self.root
        directory, _, name = path.rpartition(b"/")
        return self.directories.find(directory, name)

    def put(self, path: bytes, dirent: Dirent, file: _File | None = None) -> None:
        """Put something at a path, whatever is there; not below it."""
        directory, _, name = path.rpartition(b"/")
        self.directories.put(directory, name, dirent)
        if stat.S_ISDIR(dirent.mode) and path not in self.directories:
            self.directories[path] = {}
        if file is not None:
            self.files[path] = file
        else:
            self.files.pop(path, None)

    def put_all(
        self, directory: bytes, layer: LayerTree, source: bytes, number: int
    ) -> None:
        """Put all entries of a layer's directory into one that is empty so far."""
        self.directories.share(directory, layer.tree.directories, source)
        for name, dirent in layer.tree.directories[source].items():
            if stat.S_ISDIR(dirent.mode):
                self.directories[_below(directory, name)] = {}
            elif dirent.link_group:
                self.files[_below(directory, name)] = (number, dirent.link_group)

    def take_out(self, gone: set[bytes]) -> None:
        """Remove some paths and all below them."""
        for path in gone:
            if path and self.get(path) is not None:
                directory, _, name = path.rpartition(b"/")
                self.directories.drop(directory, name)
                self.files.pop(path, None)
        if gone.isdisjoint(self.directories):
            return
        doomed: set[bytes] = set()
        for path in self.directories:
            if path and (path in gone or path.rpartition(b"/")[0] in doomed):
                doomed.add(path)
        for path in doomed:
            if self.files:
                for name in self.directories[path]:
                    self.files.pop(_below(path, name), None)
            del self.directories[path]


def verify(
    written: StreamedTree,
    layers: Sequence[LayerTree],
    added: Collection[bytes],
    steps: Steps | None = None,
) -> None:
    """Compare a published tree, as it is read back, with its layers.

    Args:
        written: read from the written catalogs.
        layers: of the image, lowest first.
        added: paths that are ours and not the image's.
        steps: counts entries, and what finding paths costs; it is asked whether to go
            on.

    Raises:
        VerificationFailed: with the first few differences.
    """
    steps = steps or Steps()
    expected = _derive(layers, steps)
    _raise(_differences(written, expected, frozenset(added), steps))


def verify_layer(written: StreamedTree, layer: LayerTree) -> None:
    """Compare one layer's own tree, as it is read back, with the layer.

    Raises:
        VerificationFailed: with the first few differences.
    """
    _raise(_differences_of_layer(written, layer))


def _raise(differences: Iterator[str]) -> None:
    # One more than is shown: then it is known that there are more.
    found = list(islice(differences, _MOST_SHOWN + 1))
    if found:
        shown = "; ".join(found[:_MOST_SHOWN])
        more = "; and more" if len(found) > _MOST_SHOWN else ""
        raise VerificationFailed(
            f"the published tree is not what was pushed: {shown}{more}"
        )


def _differences_of_layer(written: StreamedTree, layer: LayerTree) -> Iterator[str]:
    """Compare a layer directory by directory; nothing lies above or below it."""
    if _held(written.root) != _held(layer.tree.root):
        yield "/ has other attributes"
    missing = set(layer.tree.directories)
    for path, entries in written.directories:
        wanted = layer.tree.directories.get(path, {})
        files = {
            _below(path, name): (0, dirent.link_group)
            for name, dirent in wanted.items()
            if dirent.link_group
        }
        yield from _differences_in(path, entries, wanted, files, frozenset())
        missing.discard(path)
    for path in sorted(missing):
        yield f"{_shown(path)} is missing"


def _derive(layers: Sequence[LayerTree], steps: Steps) -> _Table:
    table = _Table()
    for number, layer in enumerate(layers):
        steps.allow(layer.entries + len(layer.tree.directories))
        symlinks = ExpectedSymlinks(table.get, steps)
        links = {
            (directory, name): _hard_link(table, symlinks, target, number)
            for directory, names in layer.links.items()
            for name, target in names.items()
        }
        table.take_out(set(_deleted(table, symlinks, layer)))
        symlinks = ExpectedSymlinks(table.get, steps)  # some may have gone
        wanted = layer.tree.directories.keys() | layer.links
        places = _places(symlinks, layer, wanted)
        table.take_out(set(_replaced(table, layer, places, links)))
        if b"" not in layer.implied:
            table.root = layer.tree.root
        _add(table, layer, places, number, steps)
        for (directory, name), (dirent, file) in links.items():
            table.put(_below(places[directory], name), dirent, file)
    return table


def _hard_link(
    table: _Table, symlinks: ExpectedSymlinks, target: bytes, number: int
) -> tuple[Dirent, _File]:
    parent, _, name = target.rpartition(b"/")
    path = _below(symlinks.follow(parent), name)
    # Otherwise a number no group of a layer has: groups begin at 1.
    new = (number, -1 - hash(path) % (1 << 62))
    dirent = table.get(path)
    if dirent is None:
        raise VerificationFailed(
            f"a hard link leads to {_shown(path)}, where nothing is"
        )
    return dirent, table.files.setdefault(path, new)


def _deleted(
    table: _Table, symlinks: ExpectedSymlinks, layer: LayerTree
) -> Iterator[bytes]:
    """Yield what the layer deletes from those below."""
    hiding = layer.opaque | layer.whiteouts.keys()
    if not hiding:
        return
    places = _places(symlinks, layer, hiding)
    opaque = {places[path] for path in layer.opaque}
    for path in hiding:
        for name in layer.whiteouts.get(path, ()):
            yield _below(places[path], name)
    for place in opaque:
        for name in table.directories.get(place, ()):
            yield _below(place, name)


def _places(
    symlinks: ExpectedSymlinks, layer: LayerTree, wanted: Collection[bytes]
) -> dict[bytes, bytes]:
    """Return where directories of the layer lie in the table.

    One that the layer names is where it says; one that it only passes through may be a
    symlink below.
    """
    named = layer.tree.directories.keys() - layer.implied
    places = {b"": b""}
    paths = set(wanted)
    for path in wanted:
        while path:
            path = path.rpartition(b"/")[0]  # noqa: PLW2901 - up to the root
            if path in paths:
                break  # so is what is above it, or will be
            paths.add(path)
    for path in sorted(paths - {b""}):
        parent, _, name = path.rpartition(b"/")
        # What the parent's name was below does not matter any more, only where it is.
        place = places[parent]
        is_named = path in named
        places[path] = _below(place, name) if is_named else symlinks.follow(name, place)
    return places


def _replaced(
    table: _Table,
    layer: LayerTree,
    places: dict[bytes, bytes],
    links: Collection[tuple[bytes, bytes]],
) -> Iterator[bytes]:
    """Yield directories of the table that the layer makes something else."""
    for directory in layer.tree.directories:
        below = table.directories.get(places[directory])
        if not below:
            continue
        for name, dirent in layer.tree.directories[directory].items():
            old = below.get(name)
            if (
                old is not None
                and stat.S_ISDIR(old.mode)
                and not stat.S_ISDIR(dirent.mode)
            ):
                yield _below(places[directory], name)
    for directory, name in links:
        yield _below(places[directory], name)


def _add(
    table: _Table,
    layer: LayerTree,
    places: dict[bytes, bytes],
    number: int,
    steps: Steps,
) -> None:
    for directory in sorted(layer.tree.directories):
        steps.take(1 + len(layer.tree.directories[directory]))
        place = places[directory]
        _ensure(table, place)
        if table.directories.is_empty(place):
            table.put_all(place, layer, directory, number)
            continue
        for name, dirent in layer.tree.directories[directory].items():
            if stat.S_ISDIR(dirent.mode) and _below(directory, name) in layer.implied:
                continue
            group = dirent.link_group
            file = (number, group) if group else None
            table.put(_below(place, name), dirent, file)
    for directory in layer.links:
        _ensure(table, places[directory])


def _ensure(table: _Table, path: bytes) -> None:
    """Make a path and all above it directories, as nobody names them."""
    missing = []
    while path not in table.directories:
        missing.append(path)
        path = path.rpartition(b"/")[0]
    for made in reversed(missing):
        table.put(made, _UNNAMED)


def _below(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name


def _differences(
    written: StreamedTree, expected: _Table, added: frozenset[bytes], steps: Steps
) -> Iterator[str]:
    """Compare a tree with what it should be, which is used up."""
    if _held(expected.root) != _held(written.root) and b"" not in added:
        yield "/ has other attributes"
    for directory, entries in written.directories:
        steps.take(1 + len(entries))
        wanted = expected.directories.pop(directory, {})
        yield from _differences_in(directory, entries, wanted, expected.files, added)
    for directory in sorted(expected.directories.keys() - added):
        yield f"{_shown(directory)} is missing"


def _differences_in(
    directory: bytes,
    entries: Directory,
    wanted: Directory,
    files: Mapping[bytes, _File],
    added: frozenset[bytes],
) -> Iterator[str]:
    """Compare one directory.

    Args:
        directory: its path.
        entries: as written.
        wanted: what should be there.
        files: by absolute path the file it is a name of; only where there may be other
            names of that file.
        added: paths that are not compared.
    """
    linked: defaultdict[_File, list[bytes]] = defaultdict(list)
    groups: defaultdict[int, list[bytes]] = defaultdict(list)
    before = directory + b"/" if directory else b""
    for name, dirent in entries.items():
        path = before + name
        if path in added or name == _MARKER:
            continue
        found = wanted.get(name)
        if found is None:
            yield f"{_shown(path)} should not be there"
            continue
        if found != dirent and _held(found) != _held(dirent):
            yield f"{_shown(path)} has another {', '.join(_apart(dirent, found))}"
        if files and path in files:
            linked[files[path]].append(name)
        if dirent.link_group:
            groups[dirent.link_group].append(name)
    if _linked(linked.values()) != _linked(groups.values()):
        yield f"{_shown(directory)} has other hard links"
    for name in sorted(wanted.keys() - entries.keys()):
        if before + name not in added and name != _MARKER:
            yield f"{_shown(before + name)} is missing"


def _linked(names: Iterable[list[bytes]]) -> list[list[bytes]]:
    """Return the names that share a file with another in their directory.

    More than that a catalog cannot say.
    """
    return sorted(sorted(group) for group in names if len(group) > 1)


def _apart(dirent: Dirent, other: Dirent) -> list[str]:
    """Return the names of what two entries disagree in."""
    pairs = zip(Dirent._fields, _held(dirent), _held(other), strict=True)
    return [field for field, one, two in pairs if one != two]


def _held(dirent: Dirent) -> Dirent:
    """Return an entry as far as a catalog can hold it, hard links aside."""
    if not dirent.xattrs and not dirent.link_group:
        return dirent
    kept = tuple(
        pair
        for pair in dirent.xattrs
        if len(pair[0]) <= _XATTR_BYTES and len(pair[1]) <= _XATTR_BYTES
    )
    return dirent._replace(xattrs=kept[:_XATTRS], link_group=0)


def _shown(path: bytes) -> str:
    return "/" + path.decode(errors="backslashreplace")
