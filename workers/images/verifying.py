"""What an image must look like, derived a second time and in another way.

``merge`` is fast and keeps trees of dictionaries; a mistake in it would publish a wrong
image that looks fine. So before a tag moves, what the written catalogs say is compared
with what this module derives from the same layers: one flat table from path to entry,
changed layer by layer, shares no code with ``merge`` and its helpers.

Pure; costs about as much as a merge that has nothing to take over whole.
"""

import stat
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from workers.cvmfs import Dirent, Tree
from workers.errors import TransientError
from workers.images.layer_tree import LayerTree

_HOPS = 40
_MARKER = b".cvmfscatalog"
# What a catalog can hold of an extended attribute (workers/cvmfs/xattrs.py).
_XATTR_BYTES = 255
_XATTRS = 255
_MOST_SHOWN = 3
_UNNAMED = Dirent(stat.S_IFDIR | 0o755)


class VerificationFailed(TransientError):
    """The written catalogs do not say what the layers say; nothing was published.

    A retry builds everything anew: a damaged disk or a bug, but not the image's fault.
    """


class _Object(NamedTuple):
    """An entry, and which file it is a name of: hard links share their ``file``."""

    dirent: Dirent
    file: tuple[int, int] | None = None


_Table = dict[bytes, _Object]


def verify(tree: Tree, layers: Sequence[LayerTree], added: Collection[bytes]) -> None:
    """Compare a published tree, as it was read back, with its layers.

    Args:
        tree: read from the written catalogs.
        layers: of the image, lowest first.
        added: paths that are ours and not the image's.

    Raises:
        VerificationFailed: with the first few differences.
    """
    expected = _derive(layers)
    found = []
    for difference in _differences(tree, expected, frozenset(added)):
        found.append(difference)
        if len(found) > _MOST_SHOWN:
            break
    if found:
        shown = "; ".join(found[:_MOST_SHOWN])
        raise VerificationFailed(f"the published tree is not what was pushed: {shown}")


def verify_layer(tree: Tree, layer: LayerTree) -> None:
    """Compare one layer's own tree, as it was read back, with the layer.

    Raises:
        VerificationFailed: with the first few differences.
    """
    # Only a lower layer has what these links point to.
    verify(tree, [replace(layer, links={})], ())


def _derive(layers: Sequence[LayerTree]) -> _Table:
    table: _Table = {b"": _Object(_UNNAMED)}
    for number, layer in enumerate(layers):
        links = {
            (directory, name): _hard_link(table, target, number)
            for directory, names in layer.links.items()
            for name, target in names.items()
        }
        table = _without(table, set(_deleted(table, layer)))
        places = _places(table, layer, layer.tree.directories.keys() | layer.links)
        table = _without(table, set(_replaced(table, layer, places, links)))
        if b"" not in layer.implied:
            table[b""] = _Object(layer.tree.root)
        _add(table, layer, places, number)
        for (directory, name), linked in links.items():
            table[_below(places[directory], name)] = linked
    return table


def _hard_link(table: _Table, target: bytes, number: int) -> _Object:
    parent, _, name = target.rpartition(b"/")
    path = _below(_follow(table, parent), name)
    found = table[path]
    if found.file is None:
        # A number no group of a layer has: groups begin at 1.
        found = _Object(found.dirent, (number, -1 - hash(path) % (1 << 62)))
        table[path] = found
    return found


def _deleted(table: _Table, layer: LayerTree) -> Iterator[bytes]:
    """Yield what the layer deletes from those below."""
    hiding = layer.opaque | layer.whiteouts.keys()
    if not hiding:
        return
    places = _places(table, layer, hiding)
    opaque = {places[path] for path in layer.opaque}
    for path in hiding:
        for name in layer.whiteouts.get(path, ()):
            yield _below(places[path], name)
    if opaque:
        for path in table:
            if path and path.rpartition(b"/")[0] in opaque:
                yield path


def _places(
    table: _Table, layer: LayerTree, wanted: Collection[bytes]
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
            paths.add(path)
    for path in sorted(paths - {b""}):
        parent, _, name = path.rpartition(b"/")
        # What the parent's name was below does not matter any more, only where it is.
        place = places[parent]
        is_named = path in named
        places[path] = _below(place, name) if is_named else _follow(table, name, place)
    return places


def _replaced(
    table: _Table,
    layer: LayerTree,
    places: dict[bytes, bytes],
    links: Collection[tuple[bytes, bytes]],
) -> Iterator[bytes]:
    """Yield directories of the table that the layer makes something else."""
    for directory, entries in layer.tree.directories.items():
        place = places[directory]
        if place not in table:
            continue  # then nothing is in it
        before = place + b"/" if place else b""
        for name, dirent in entries.items():
            old = table.get(before + name)
            if (
                old is not None
                and stat.S_ISDIR(old.dirent.mode)
                and not stat.S_ISDIR(dirent.mode)
            ):
                yield before + name
    for directory, name in links:
        yield _below(places[directory], name)


def _without(table: _Table, gone: set[bytes]) -> _Table:
    """Return the table without some paths and all below them."""
    gone &= table.keys()
    if not gone:
        return table
    kept: _Table = {}
    is_gone: dict[bytes, bool] = {b"": False}
    for path, found in table.items():
        # Parents were put in before what is in them, so theirs is known.
        is_gone[path] = bool(path) and (
            path in gone or is_gone.get(path.rpartition(b"/")[0], False)
        )
        if not is_gone[path]:
            kept[path] = found
    return kept


def _add(
    table: _Table, layer: LayerTree, places: dict[bytes, bytes], number: int
) -> None:
    directories = layer.tree.directories
    for directory in sorted(directories):
        place = places[directory]
        _ensure(table, place)
        before = place + b"/" if place else b""
        for name, dirent in directories[directory].items():
            if stat.S_ISDIR(dirent.mode) and _below(directory, name) in layer.implied:
                continue
            group = dirent.link_group
            table[before + name] = _Object(dirent, (number, group) if group else None)
    for directory in layer.links:
        _ensure(table, places[directory])


def _ensure(table: _Table, path: bytes) -> None:
    """Make a path and all above it directories, as nobody names them."""
    missing = []
    while path:
        found = table.get(path)
        if found is not None and stat.S_ISDIR(found.dirent.mode):
            break
        missing.append(path)
        path = path.rpartition(b"/")[0]
    for made in reversed(missing):
        table.pop(made, None)
        table[made] = _Object(_UNNAMED)


def _follow(table: _Table, path: bytes, start: bytes = b"") -> bytes:
    """Return where a path leads as a directory, whether it is there or not."""
    rest = path.split(b"/")
    at = start.split(b"/") if start else []
    hops = 0
    while rest:
        part = rest.pop(0)
        if part in (b"", b"."):
            continue
        if part == b"..":
            at = at[:-1]
            continue
        found = table.get(b"/".join([*at, part]))
        if found is None or not stat.S_ISLNK(found.dirent.mode) or hops > _HOPS:
            at.append(part)
            continue
        hops += 1
        target = found.dirent.target
        if target.startswith(b"/"):
            at = []
        rest = target.split(b"/") + rest
    return b"/".join(at)


def _below(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name


def _differences(
    tree: Tree, expected: _Table, added: frozenset[bytes]
) -> Iterator[str]:
    wanted = dict(expected)
    if _held(wanted.pop(b"").dirent) != _held(tree.root) and b"" not in added:
        yield "/ has other attributes"
    for directory in tree.directories:
        yield from _differences_in(tree, directory, wanted, added)
    for path in wanted:
        if path not in added and path.rpartition(b"/")[2] != _MARKER:
            yield f"{_shown(path)} is missing"


def _differences_in(
    tree: Tree, directory: bytes, wanted: _Table, added: frozenset[bytes]
) -> Iterator[str]:
    """Compare one directory; takes what it has out of ``wanted``."""
    files: defaultdict[tuple[int, int], list[bytes]] = defaultdict(list)
    groups: defaultdict[int, list[bytes]] = defaultdict(list)
    before = directory + b"/" if directory else b""
    for name, dirent in tree.directories[directory].items():
        path = before + name
        found = wanted.pop(path, None)
        if path in added or name == _MARKER:
            continue
        if found is None:
            yield f"{_shown(path)} should not be there"
            continue
        if found.dirent != dirent and _held(found.dirent) != _held(dirent):
            yield f"{_shown(path)} is {dirent}, not {found.dirent}"
        if found.file is not None:
            files[found.file].append(name)
        if dirent.link_group:
            groups[dirent.link_group].append(name)
    if _linked(files.values()) != _linked(groups.values()):
        yield f"{_shown(directory)} has other hard links"


def _linked(names: Iterable[list[bytes]]) -> list[list[bytes]]:
    """Return the names that share a file with another in their directory.

    More than that a catalog cannot say.
    """
    return sorted(sorted(group) for group in names if len(group) > 1)


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
