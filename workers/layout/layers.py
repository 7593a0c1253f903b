"""Layers as directories of their own, for overlay file systems and for ourselves.

``/.layers/<xx>/<digest>/layerfs`` is the layer as containerd, podman and the kernel's
overlay want it: a deletion is a character device 0:0, an opaque directory carries an
extended attribute. ``.metadata/layer.json`` beside it keeps what that form cannot say,
so that ``read_layer_tree`` gives back exactly the layer that was published, and no
image that shares it has to fetch it again.

Source: https://docs.kernel.org/filesystems/overlayfs.html ("whiteouts and opaque
directories"); ``user.overlay.opaque`` is what a mount in a user namespace reads.
"""

import json
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from workers.cvmfs import Content, Directory, Dirent, Tree
from workers.errors import PermanentError
from workers.images.layer_tree import LayerTree
from workers.images.names import join
from workers.images.places import IMPLIED, find, find_directory

LAYERFS = b"layerfs"
METADATA = b".metadata"
RECORD = b"layer.json"

_VERSION = 1
_FOLDER = Dirent(stat.S_IFDIR | 0o755)
_WHITEOUT = Dirent(stat.S_IFCHR)
_OPAQUE = ((b"trusted.overlay.opaque", b"y"), (b"user.overlay.opaque", b"y"))


class NotOurLayer(PermanentError):
    """A published layer whose record we do not understand; it is fetched again."""


def layer_path(digest: str) -> bytes:
    """Return where a layer lies, by the digest of its compressed blob."""
    encoded = digest.partition(":")[2].encode()
    return b"/.layers/%s/%s" % (encoded[:2], encoded)


def record_path(digest: str) -> bytes:
    """Return where the record of a layer lies; one of another tool has none."""
    return b"%s/%s/%s" % (layer_path(digest), METADATA, RECORD)


def publishable(
    layer: LayerTree, below: Tree, store: Callable[[bytes], Content]
) -> Tree:
    """Return the tree to publish at ``layer_path``.

    Args:
        layer: what the layer says.
        below: what the layers under it come to. Directories that the layer only passes
            through take their attributes from there, as do its hard links to what only
            lower layers have.
        store: puts the bytes of a file where the layer's other files are.
    """
    writer = _Writer(layer, below)
    writer.write()
    directories = {b"": {LAYERFS: writer.root, METADATA: _FOLDER}}
    for path, entries in writer.directories.items():
        directories[join(LAYERFS, path) if path else LAYERFS] = entries
    record = json.dumps(_record(layer), sort_keys=True).encode()
    directories[METADATA] = {
        RECORD: Dirent(stat.S_IFREG | 0o644, content=store(record)),
    }
    return Tree(_FOLDER, directories)


def read_layer_tree(tree: Tree, read: Callable[[Dirent], bytes]) -> LayerTree:
    """Return the layer that a published tree was made of.

    Args:
        tree: what is at ``layer_path``; is taken apart.
        read: returns the content of a small file.

    Raises:
        NotOurLayer: another tool published it, or a later version.
    """
    record = _parse(tree, read)
    prefix = LAYERFS + b"/"
    directories = {
        path.removeprefix(LAYERFS).removeprefix(b"/"): entries
        for path, entries in tree.directories.items()
        if path == LAYERFS or path.startswith(prefix)
    }
    layer = LayerTree(
        Tree(tree.directories[b""][LAYERFS], directories),
        implied=set(_paths(record, "implied")),
        opaque=set(_paths(record, "opaque")),
        whiteouts={
            _path(directory): set(map(_path, names))
            for directory, names in _mapping(record, "whiteouts").items()
        },
        links={
            _path(directory): {
                _path(name): _path(target) for name, target in names.items()
            }
            for directory, names in _mapping(record, "links").items()
        },
        diff_id=str(record["diff_id"]),
        size=int(record["size"]),
        entries=int(record["entries"]),
    )
    _take_out(layer, _paths(record, "made"))
    return layer


class _Writer:
    """Copies a layer's dictionaries, with what an overlay needs put in."""

    def __init__(self, layer: LayerTree, below: Tree) -> None:
        self._layer = layer
        self._below = below
        self.root = layer.tree.root
        self.directories: dict[bytes, Directory] = {
            path: dict(entries) for path, entries in layer.tree.directories.items()
        }

    def write(self) -> None:
        for path in sorted(self._layer.implied):
            self._set(path, self._lower_directory(path))
        for path in _made(self._layer):
            parent, _, name = path.rpartition(b"/")
            self.directories[parent][name] = self._lower_directory(path)
            self.directories[path] = {}
        for path in _shown_opaque(self._layer):
            dirent = self._get(path)
            xattrs = tuple(sorted((*dirent.xattrs, *_OPAQUE)))
            self._set(path, dirent._replace(xattrs=xattrs))
        for directory, names in self._layer.whiteouts.items():
            for name in names:
                self.directories[directory].setdefault(name, _WHITEOUT)
        for directory, links in self._layer.links.items():
            for name, target in links.items():
                _, linked = find(self._below, target)
                if linked is not None:
                    alone = linked._replace(link_group=0)
                    self.directories[directory][name] = alone

    def _lower_directory(self, path: bytes) -> Dirent:
        """Return the attributes of a directory as the layers below have it."""
        if not path:
            return self._below.root
        real = find_directory(self._below, path)
        if real is None:
            return IMPLIED
        if not real:
            return self._below.root
        parent, _, name = real.rpartition(b"/")
        return self._below.directories[parent][name]

    def _get(self, path: bytes) -> Dirent:
        if not path:
            return self.root
        parent, _, name = path.rpartition(b"/")
        return self.directories[parent][name]

    def _set(self, path: bytes, dirent: Dirent) -> None:
        if not path:
            self.root = dirent
            return
        parent, _, name = path.rpartition(b"/")
        self.directories[parent][name] = dirent


def _made(layer: LayerTree) -> Iterator[bytes]:
    """Yield directories that only deletions and links need, parents first."""
    known = set(layer.tree.directories)
    wanted = layer.opaque | layer.whiteouts.keys() | layer.links.keys()
    for wish in sorted(wanted):
        missing = []
        path = wish
        while path not in known:
            missing.append(path)
            known.add(path)
            path = path.rpartition(b"/")[0]
        yield from reversed(missing)


def _shown_opaque(layer: LayerTree) -> set[bytes]:
    """Return the directories that hide all of theirs below.

    One that the layer deletes and brings back is among them: an overlay has no other
    way to say so.
    """
    brought_back = {
        path
        for directory, names in layer.whiteouts.items()
        for path in (join(directory, name) for name in names)
        if path in layer.tree.directories
    }
    return layer.opaque | brought_back


def _record(layer: LayerTree) -> dict[str, object]:
    """Return what the overlay form of a layer cannot say."""
    return {
        "version": _VERSION,
        "diff_id": layer.diff_id,
        "size": layer.size,
        "entries": layer.entries,
        "implied": sorted(map(_text, layer.implied)),
        "made": [_text(path) for path in _made(layer)],
        "opaque": sorted(map(_text, layer.opaque)),
        "whiteouts": {
            _text(directory): sorted(map(_text, names))
            for directory, names in sorted(layer.whiteouts.items())
        },
        "links": {
            _text(directory): {
                _text(name): _text(target) for name, target in sorted(names.items())
            }
            for directory, names in sorted(layer.links.items())
        },
    }


def _take_out(layer: LayerTree, made: list[bytes]) -> None:
    """Undo what ``_Writer`` put in."""
    directories = layer.tree.directories
    for directory, names in layer.whiteouts.items():
        for name in names:
            dirent = directories[directory].get(name)
            # What a layer deletes and brings back is no device of ours.
            if dirent is not None and dirent == _WHITEOUT:
                del directories[directory][name]
    for directory, links in layer.links.items():
        for name in links:
            directories[directory].pop(name, None)
    for path in _shown_opaque(layer):
        _strip_opaque(layer.tree, path)
    for path in layer.implied:
        if path:
            parent, _, name = path.rpartition(b"/")
            directories[parent][name] = IMPLIED
        else:
            layer.tree.root = IMPLIED
    for path in reversed(made):
        parent, _, name = path.rpartition(b"/")
        directories.pop(path, None)
        directories[parent].pop(name, None)


def _strip_opaque(tree: Tree, path: bytes) -> None:
    parent, _, name = path.rpartition(b"/")
    dirent = tree.directories[parent][name] if path else tree.root
    kept = tuple(pair for pair in dirent.xattrs if pair not in _OPAQUE)
    if path:
        tree.directories[parent][name] = dirent._replace(xattrs=kept)
    else:
        tree.root = dirent._replace(xattrs=kept)


def _parse(tree: Tree, read: Callable[[Dirent], bytes]) -> Mapping[str, Any]:
    dirent = tree.directories.get(METADATA, {}).get(RECORD)
    if dirent is None or LAYERFS not in tree.directories:
        raise NotOurLayer("a published layer has no record of ours")
    try:
        record = json.loads(read(dirent))
    except ValueError as error:
        raise NotOurLayer(f"a published layer's record is broken: {error}") from error
    if not isinstance(record, dict) or record.get("version") != _VERSION:
        raise NotOurLayer("a published layer's record is of another version")
    return record


def _paths(record: Mapping[str, Any], key: str) -> list[bytes]:
    return [_path(value) for value in record[key]]


def _mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    values: Mapping[str, Any] = record[key]
    return values


def _text(path: bytes) -> str:
    """Return a path as JSON can hold it, whatever its bytes."""
    return path.decode("utf-8", "surrogateescape")


def _path(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
