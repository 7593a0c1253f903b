"""A layer in the form that overlay file systems want, and back.

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
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workers.cvmfs import Content, Directories, Directory, Dirent, StreamedTree, Tree
from workers.errors import PermanentError
from workers.images.layers.layer_tree import LayerTree
from workers.images.layers.names import join
from workers.images.layers.paths_in_tree import IMPLIED, find, find_directory
from workers.images.layers.verify import VerificationFailed

LAYERFS = b"layerfs"
METADATA = b".metadata"
RECORD = b"layer.json"

_VERSION = 1
_FOLDER = Dirent(stat.S_IFDIR | 0o755)
_WHITEOUT = Dirent(stat.S_IFCHR)
_OPAQUE = ((b"trusted.overlay.opaque", b"y"), (b"user.overlay.opaque", b"y"))


class NotOurLayer(PermanentError):
    """A published layer whose record we do not understand; it is fetched again."""


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
    record = json.dumps(_record(layer), sort_keys=True).encode()
    content = store(record)
    tree = Tree(_FOLDER)
    tree.directories[b""] = {LAYERFS: layer.tree.root, METADATA: _FOLDER}
    tree.directories[METADATA] = {RECORD: Dirent(stat.S_IFREG | 0o644, content=content)}
    _OverlayWriter(layer, below, tree.directories).write()
    return tree


def read_layer_tree(tree: Tree, read: Callable[[Dirent], bytes]) -> LayerTree:
    """Return the layer that a published tree was made of.

    Args:
        tree: what is at ``layer_path``.
        read: returns the content of a small file.

    Raises:
        NotOurLayer: another tool published it, or a later version.
    """
    dirent = tree.directories.get(METADATA, {}).get(RECORD)
    if dirent is None or LAYERFS not in tree.directories:
        raise NotOurLayer("a published layer has no record of ours")
    record = _parse(read(dirent))
    layer = LayerTree(
        Tree(tree.directories[b""][LAYERFS]),
        implied=set(_paths(record, "implied")),
        opaque=set(_paths(record, "opaque")),
        whiteouts=_names(record["whiteouts"]),
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
    undo = _Undoing(layer, set(_paths(record, "made")), _names(record.get("devices")))
    layer.tree.root = undo.root(layer.tree.root)
    directories = layer.tree.directories
    for path in tree.directories:
        inside = _inside(path)
        if inside is None or inside in undo.made:
            continue
        entries = tree.directories[path]
        undone = undo.entries(inside, entries)
        if undone is entries:
            directories.share(inside, tree.directories, path)
        else:
            directories[inside] = undone
    return layer


def unwrapped(
    written: StreamedTree, layer: LayerTree, read: Callable[[Dirent], bytes]
) -> StreamedTree:
    """Return the layer's own tree while the published one is being read back.

    Args:
        written: what is at ``layer_path``.
        layer: that it was made of; its record is to be found there, too.
        read: returns the content of a small file.

    Raises:
        VerificationFailed: (here and while it is read) it is not the layer's, or its
            record is not.
    """
    undo = _Undoing(layer, set(_made(layer)), _devices(layer))
    path, entries = next(written.directories, (b"", {}))
    root = entries.get(LAYERFS)
    if path or root is None:
        raise VerificationFailed("a layer was published without a directory for it")
    return StreamedTree(undo.root(root), _unwrapped(written, layer, undo, read))


def _unwrapped(
    written: StreamedTree,
    layer: LayerTree,
    undo: "_Undoing",
    read: Callable[[Dirent], bytes],
) -> Iterator[tuple[bytes, Directory]]:
    is_recorded = False
    for path, entries in written.directories:
        inside = _inside(path)
        if inside is not None and inside not in undo.made:
            yield inside, undo.entries(inside, entries)
        elif path == METADATA and RECORD in entries:
            is_recorded = _parse(read(entries[RECORD])) == _record(layer)
    if not is_recorded:
        raise VerificationFailed("a layer was published with another layer's record")


class _OverlayWriter:
    """Makes of a layer's directories what an overlay needs.

    Args:
        layer: stays as it is.
        below: what the layers under it come to.
        directories: where the layer's go, below ``LAYERFS``, which is in the root.
    """

    def __init__(self, layer: LayerTree, below: Tree, directories: Directories) -> None:
        self._layer = layer
        self._below = below
        self._directories = directories

    def write(self) -> None:
        layer, own = self._layer.tree.directories, self._directories
        for path in layer:
            own.share(_outside(path), layer, path)
        for path in sorted(self._layer.implied):
            self._set(path, self._lower_directory(path))
        for path in _made(self._layer):
            self._set(path, self._lower_directory(path))
            own[_outside(path)] = {}
        for path in _shown_opaque(self._layer):
            dirent = self._get(path)
            xattrs = tuple(sorted((*dirent.xattrs, *_OPAQUE)))
            self._set(path, dirent._replace(xattrs=xattrs))
        self._write_whiteouts()
        for directory, links in self._layer.links.items():
            for name, target in links.items():
                _, linked = find(self._below, target)
                if linked is not None:
                    alone = linked._replace(link_group=0)
                    own.put(_outside(directory), name, alone)

    def _write_whiteouts(self) -> None:
        for directory, names in self._layer.whiteouts.items():
            place = _outside(directory)
            for name in names:
                if self._directories.find(place, name) is None:
                    self._directories.put(place, name, _WHITEOUT)

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
        return self._below.directories.find(parent, name) or IMPLIED

    def _get(self, path: bytes) -> Dirent:
        parent, _, name = _outside(path).rpartition(b"/")
        return self._directories.find(parent, name) or IMPLIED

    def _set(self, path: bytes, dirent: Dirent) -> None:
        parent, _, name = _outside(path).rpartition(b"/")
        self._directories.put(parent, name, dirent)


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


def _devices(layer: LayerTree) -> dict[bytes, set[bytes]]:
    """Return what the layer itself has that looks like a whiteout of ours.

    Only where it deletes the same name from below. An overlay shows such a device of
    any layer as nothing, and does so too where Docker unpacked the layer; it is the
    flat tree that shows it as the device that it is.
    """
    devices = {
        directory: {
            name
            for name in names
            if layer.tree.directories.find(directory, name) == _WHITEOUT
        }
        for directory, names in layer.whiteouts.items()
    }
    return {directory: names for directory, names in devices.items() if names}


def _record(layer: LayerTree) -> dict[str, object]:
    """Return what the overlay form of a layer cannot say."""
    devices = _devices(layer)
    return {
        # Hardly a layer has any; the others' records stay as they have always been.
        **({"devices": _listed(devices)} if devices else {}),
        "version": _VERSION,
        "diff_id": layer.diff_id,
        "size": layer.size,
        "entries": layer.entries,
        "implied": sorted(map(_text, layer.implied)),
        "made": [_text(path) for path in _made(layer)],
        "opaque": sorted(map(_text, layer.opaque)),
        "whiteouts": _listed(layer.whiteouts),
        "links": {
            _text(directory): {
                _text(name): _text(target) for name, target in sorted(names.items())
            }
            for directory, names in sorted(layer.links.items())
        },
    }


@dataclass(frozen=True, slots=True)
class _Undoing:
    """Undoes what ``_OverlayWriter`` did, one directory at a time.

    Attributes:
        layer: says what was put in; its tree is not looked at.
        made: directories that were put in.
        devices: names, by directory, that look like whiteouts and were not put in.
    """

    layer: LayerTree
    made: set[bytes]
    devices: Mapping[bytes, Collection[bytes]]

    def root(self, dirent: Dirent) -> Dirent:
        return self._directory(b"", dirent, is_shown_opaque=b"" in self.layer.opaque)

    def entries(self, path: bytes, entries: Directory) -> Directory:
        """Return what the entries of a directory of the layer were.

        The same object, if nothing was done to them.
        """
        layer = self.layer
        hidden: Collection[bytes] = layer.whiteouts.get(path, ())
        linked = layer.links.get(path, ())
        if not (hidden or linked or layer.opaque or self.made or layer.implied):
            return entries
        own = self.devices.get(path, ())
        undone = dict(entries)
        for name in hidden:
            # What a layer deletes and brings back is no device of ours.
            if name not in own and undone.get(name) == _WHITEOUT:
                del undone[name]
        for name in linked:
            undone.pop(name, None)
        for name, dirent in list(undone.items()):
            if not stat.S_ISDIR(dirent.mode):
                continue
            inner = join(path, name)
            if inner in self.made:
                del undone[name]
            else:
                # As in ``_shown_opaque``.
                is_shown = name in hidden or inner in layer.opaque
                undone[name] = self._directory(inner, dirent, is_shown_opaque=is_shown)
        return entries if undone == entries else undone

    def _directory(
        self, path: bytes, dirent: Dirent, *, is_shown_opaque: bool
    ) -> Dirent:
        if path in self.layer.implied:
            return IMPLIED
        if not is_shown_opaque:
            return dirent
        kept = tuple(pair for pair in dirent.xattrs if pair not in _OPAQUE)
        return dirent._replace(xattrs=kept)


def _outside(path: bytes) -> bytes:
    """Return the path in the published tree of one in the layer."""
    return join(LAYERFS, path) if path else LAYERFS


def _inside(path: bytes) -> bytes | None:
    """Return the path in the layer of one in the published tree, if it is in there."""
    if path == LAYERFS:
        return b""
    before = LAYERFS + b"/"
    return path[len(before) :] if path.startswith(before) else None


def _parse(data: bytes) -> Mapping[str, Any]:
    try:
        record = json.loads(data)
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


def _names(value: Mapping[str, list[str]] | None) -> dict[bytes, set[bytes]]:
    """Return names by directory, as ``_listed`` wrote them, if it did."""
    return {
        _path(directory): set(map(_path, names))
        for directory, names in (value or {}).items()
    }


def _listed(names: Mapping[bytes, Collection[bytes]]) -> dict[str, list[str]]:
    return {
        _text(directory): sorted(map(_text, names[directory]))
        for directory in sorted(names)
    }


def _text(path: bytes) -> str:
    """Return a path as JSON can hold it, whatever its bytes."""
    return path.decode("utf-8", "surrogateescape")


def _path(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
