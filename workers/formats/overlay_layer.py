"""A layer in the form that overlay file systems want, and back.

``/.layers/<xx>/<digest>/layerfs`` is the layer as containerd, podman and the kernel's
overlay want it: a deletion is a character device 0:0, an opaque directory carries an
extended attribute. ``.metadata/blob.json`` beside it keeps what that form cannot say,
so that ``read_overlay_form`` gives back exactly the layer that was published, and no
image that shares it has to fetch it again.

All of it is a function of the layer alone, whatever lies below it in whichever image:
what only its place in an image can say has no such form (``chained_layer.py``).
Directories that no member names are root's with mode 0755, as Docker and podman make
them where they unpack a layer.

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
from workers.images.layers.paths_in_tree import IMPLIED
from workers.images.layers.verify import VerificationFailed

LAYERFS = b"layerfs"
METADATA = b".metadata"
RECORD = b"blob.json"
# Beside layers that were filled from those below them in the image that came first.
FORMER_RECORD = b"layer.json"

_VERSION = 2
_FOLDER = Dirent(stat.S_IFDIR | 0o755)
_WHITEOUT = Dirent(stat.S_IFCHR)
_OPAQUE = ((b"trusted.overlay.opaque", b"y"), (b"user.overlay.opaque", b"y"))


class NotOurLayer(PermanentError):
    """A published layer whose record we do not understand; it is fetched again."""


@dataclass(frozen=True, slots=True)
class OverlayForm:
    """A layer, and what an overlay is shown of it.

    Of directories that look as the layer has them nothing is held twice.

    Attributes:
        layer: what it is the form of.
        root: attributes of its top directory.
        changed: the directories that look otherwise, or that the layer does not have,
            by their paths in it.
    """

    layer: LayerTree
    root: Dirent
    changed: Directories

    def directory(self, path: bytes) -> Directory | None:
        """Return the entries of a directory, or None if it is not there."""
        return self.source(path).get(path)

    def source(self, path: bytes) -> Directories:
        """Return where the entries of a directory are, if it is there."""
        return self.changed if path in self.changed else self.layer.tree.directories

    def tree(self) -> Tree:
        """Return all of it; its directories are shared."""
        own, changed = self.layer.tree.directories, self.changed
        shown = Tree(self.root)
        for path in (*own, *(changed.keys() - own.keys())):
            shown.directories.share(path, self.source(path), path)
        return shown


def overlay_form(layer: LayerTree) -> OverlayForm:
    """Return a layer as an overlay wants it.

    Args:
        layer: has no hard links to files of others, nor an opaque root: see
            ``chained_layer.py``.
    """
    return _OverlayWriter(layer).write()


def publishable(form: OverlayForm, store: Callable[[bytes], Content]) -> Tree:
    """Return the tree to publish at ``layer_path``.

    Args:
        form: of the layer.
        store: puts the bytes of a file where the layer's other files are.
    """
    record = json.dumps(_record(form.layer), sort_keys=True).encode()
    content = store(record)
    shown = form.tree()
    tree = Tree(_FOLDER)
    tree.directories[b""] = {LAYERFS: shown.root, METADATA: _FOLDER}
    tree.directories[METADATA] = {RECORD: Dirent(stat.S_IFREG | 0o644, content=content)}
    for path in shown.directories:
        tree.directories.share(_outside(path), shown.directories, path)
    return tree


def read_overlay_form(tree: Tree, read: Callable[[Dirent], bytes]) -> OverlayForm:
    """Return the layer that a published tree was made of, and what is shown of it.

    Args:
        tree: what is at ``layer_path``.
        read: returns the content of a small file.

    Raises:
        NotOurLayer: another tool published it, or another version of ours.
    """
    dirent = tree.directories.get(METADATA, {}).get(RECORD)
    if dirent is None or LAYERFS not in tree.directories:
        raise NotOurLayer("a published layer has no record of ours")
    record = _parse(read(dirent))
    root = tree.directories[b""][LAYERFS]
    try:
        layer = LayerTree(
            Tree(root),
            implied=set(_paths(record, "implied")),
            opaque=set(_paths(record, "opaque")),
            whiteouts=_names(record["whiteouts"]),
            diff_id=str(record["diff_id"]),
            size=int(record["size"]),
            entries=int(record["entries"]),
            metadata=int(record["metadata"]),
        )
        made, devices = _paths(record, "made"), _names(record.get("devices"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotOurLayer(f"a published layer's record is broken: {error}") from error
    undo = _Undoing(layer, set(made), devices)
    directories, changed = layer.tree.directories, Directories()
    for path in tree.directories:
        inside = _inside(path)
        if inside is None:
            continue
        entries = tree.directories[path]
        undone = undo.entries(inside, entries)
        if inside not in undo.made and undone is entries:
            directories.share(inside, tree.directories, path)
            continue
        changed.share(inside, tree.directories, path)
        if inside not in undo.made:
            directories[inside] = undone
    return OverlayForm(layer, root, changed)


def check_form(form: OverlayForm) -> None:
    """Raise VerificationFailed unless the form gives the layer back."""
    layer = form.layer
    undo = _Undoing(layer, set(_made(layer)), _devices(layer))
    for path in form.changed:
        undone = undo.entries(path, form.changed[path])
        if path not in undo.made and undone != layer.tree.directories.get(path):
            raise VerificationFailed(
                "a layer cannot be read back from its overlay form"
            )


def shown(
    written: StreamedTree, layer: LayerTree, read: Callable[[Dirent], bytes]
) -> StreamedTree:
    """Return what an overlay is shown of a published layer, while it is read back.

    Args:
        written: what is at ``layer_path``.
        layer: that it was made of; its record is to be found there, too.
        read: returns the content of a small file.

    Raises:
        VerificationFailed: (here and while it is read) its directory or its record is
            not there.
    """
    path, entries = next(written.directories, (b"", {}))
    root = entries.get(LAYERFS)
    if path or root is None:
        raise VerificationFailed("a layer was published without a directory for it")
    return StreamedTree(root, _shown(written, layer, read))


def _shown(
    written: StreamedTree, layer: LayerTree, read: Callable[[Dirent], bytes]
) -> Iterator[tuple[bytes, Directory]]:
    is_recorded = False
    for path, entries in written.directories:
        inside = _inside(path)
        if inside is not None:
            yield inside, entries
        elif path == METADATA and RECORD in entries:
            is_recorded = _parse(read(entries[RECORD])) == _record(layer)
    if not is_recorded:
        raise VerificationFailed("a layer was published with another layer's record")


class _OverlayWriter:
    """Makes of a layer's directories what an overlay needs.

    Args:
        layer: stays as it is.
    """

    def __init__(self, layer: LayerTree) -> None:
        self._layer = layer
        self._root = layer.tree.root
        self._changed = Directories()

    def write(self) -> OverlayForm:
        layer = self._layer
        for path in _made(layer):
            self._set(path, IMPLIED)
            self._changed[path] = {}
        for path in _shown_opaque(layer):
            dirent = self._get(path)
            xattrs = tuple(sorted((*dirent.xattrs, *_OPAQUE)))
            self._set(path, dirent._replace(xattrs=xattrs))
        for directory, names in layer.whiteouts.items():
            self._change(directory)
            for name in names:
                if self._changed.find(directory, name) is None:
                    self._changed.put(directory, name, _WHITEOUT)
        return OverlayForm(layer, self._root, self._changed)

    def _get(self, path: bytes) -> Dirent:
        parent, _, name = path.rpartition(b"/")
        self._change(parent)
        return self._changed.find(parent, name) or IMPLIED

    def _set(self, path: bytes, dirent: Dirent) -> None:
        parent, _, name = path.rpartition(b"/")
        self._change(parent)
        self._changed.put(parent, name, dirent)

    def _change(self, path: bytes) -> None:
        """Let a directory of the layer be changed, from what the layer has there."""
        if path not in self._changed:
            self._changed.share(path, self._layer.tree.directories, path)


def _made(layer: LayerTree) -> Iterator[bytes]:
    """Yield directories that only deletions need, parents first."""
    known = set(layer.tree.directories)
    wanted = layer.opaque | layer.whiteouts.keys()
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
        # Hardly a layer has any.
        **({"devices": _listed(devices)} if devices else {}),
        "version": _VERSION,
        "diff_id": layer.diff_id,
        "size": layer.size,
        "entries": layer.entries,
        "metadata": layer.metadata,
        "implied": sorted(map(_text, layer.implied)),
        "made": [_text(path) for path in _made(layer)],
        "opaque": sorted(map(_text, layer.opaque)),
        "whiteouts": _listed(layer.whiteouts),
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

    def entries(self, path: bytes, entries: Directory) -> Directory:
        """Return what the entries of a directory of the layer were.

        The same object, if nothing was done to them.
        """
        layer = self.layer
        hidden: Collection[bytes] = layer.whiteouts.get(path, ())
        if not (hidden or layer.opaque or self.made):
            return entries
        own = self.devices.get(path, ())
        undone = dict(entries)
        for name in hidden:
            # What a layer deletes and brings back is no device of ours.
            if name not in own and undone.get(name) == _WHITEOUT:
                del undone[name]
        for name, dirent in list(undone.items()):
            if not stat.S_ISDIR(dirent.mode):
                continue
            inner = join(path, name)
            if inner in self.made:
                del undone[name]
            elif name in hidden or inner in layer.opaque:  # as in ``_shown_opaque``
                kept = tuple(pair for pair in dirent.xattrs if pair not in _OPAQUE)
                undone[name] = dirent._replace(xattrs=kept)
        return entries if undone == entries else undone


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
