"""What an overlay of published layers shows, found out anew and compared.

The flat tree of an image is verified against its layers (``images/layers/verify.py``).
This is the same for the layers in overlay form: what an overlay of exactly those that
are published shows must be what the flat tree has. It shares no code with those who
made the layers' forms, and takes the rules from the kernel. Only where a layer goes
through what is no directory the layers are merged anew, as if it named that.

Documented differences, which docker has as well where it unpacks layers:

* a directory that a layer does not name looks as that layer has it, whatever it is
  below: only that it is a directory is compared;
* where it is a symlink or a file below, it hides that, and what the flat tree has
  behind the symlink is in the directory;
* a directory in which a layer only deletes is there, be it empty;
* a character device 0:0 is shown nowhere;
* hard links to files of lower layers are files of their own.

Source: https://docs.kernel.org/filesystems/overlayfs.html ("Upper and Lower").
"""

import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from workers.cvmfs import Directories, Dirent, Tree
from workers.formats.overlay_layer import OverlayForm
from workers.images.layers.layer_tree import LayerTree
from workers.images.layers.merge import merge
from workers.images.layers.verify import VerificationFailed

_MOST_SHOWN = 3
_MARKS = (b"trusted.overlay.opaque", b"user.overlay.opaque")
_MADE = Dirent(stat.S_IFDIR | 0o755)

# Numbers of the layers that a directory of the overlay is made of, highest first.
_Parts = tuple[int, ...]


def verify_stack(forms: Sequence[OverlayForm], flat: Tree) -> None:
    """Compare what an overlay shows with the root file system of an image.

    Args:
        forms: of all its layers as they are published, lowest first.
        flat: what the layers come to.

    Raises:
        VerificationFailed: with the first few differences.
    """
    if not forms:
        return
    expected = _with_directories([form.layer for form in forms], flat)
    found = list(islice(_differences(forms, expected), _MOST_SHOWN + 1))
    if found:
        more = "; and more" if len(found) > _MOST_SHOWN else ""
        raise VerificationFailed(
            "the published layers are not what was pushed: "
            f"{'; '.join(found[:_MOST_SHOWN])}{more}"
        )


def _differences(forms: Sequence[OverlayForm], expected: Tree) -> Iterator[str]:
    everything = tuple(reversed(range(len(forms))))
    top = forms[-1]
    if b"" not in top.layer.implied and top.root != expected.root:
        yield "/ has other attributes"
    waiting: list[tuple[bytes, _Parts]] = [(b"", everything)]
    while waiting:
        path, parts = waiting.pop()
        wanted = expected.directories.get(path, {})
        source = forms[parts[0]].source(path) if len(parts) == 1 else None
        if source is not None and expected.directories.holds_the_same(
            path, source, path
        ):
            # Most of an image: a directory of one layer, held once.
            inside = [name for name in wanted if stat.S_ISDIR(wanted[name].mode)]
            waiting += [(_join(path, name), parts) for name in inside]
            continue
        shown = _entries(forms, path, parts)
        for name in sorted(wanted.keys() - shown.keys()):
            if not _is_whiteout(wanted[name]):
                yield f"{_text(path, name)} is missing"
        for name, (dirent, made_of) in shown.items():
            below, there = _join(path, name), wanted.get(name)
            of = [forms[number].layer for number in made_of]
            if there is None and of and all(_lacks(each, below) for each in of):
                there = dirent  # only deletions need it
            is_passed = bool(of) and not _is_named(of[0], below)
            difference = _difference(dirent, there, is_passed=is_passed)
            if difference is not None:
                yield f"{_text(path, name)} {difference}"
            elif made_of:
                waiting.append((below, made_of))


def _difference(shown: Dirent, wanted: Dirent | None, *, is_passed: bool) -> str | None:
    """Return how an entry differs; a layer that only passes through has no say."""
    if wanted is None:
        return "should not be there"
    if is_passed:
        return None if stat.S_ISDIR(wanted.mode) else "is a directory"
    if shown != wanted and _alone(shown) != _alone(wanted):
        return f"is {shown}, not {wanted}"
    return None


def _entries(
    forms: Sequence[OverlayForm], path: bytes, parts: _Parts
) -> dict[bytes, tuple[Dirent, _Parts]]:
    """Return what a directory of the overlay shows, directories with their parts.

    Args:
        forms: of the layers.
        path: of the directory.
        parts: that it is made of.
    """
    shown: dict[bytes, tuple[Dirent, _Parts]] = {}
    hidden: set[bytes] = set()
    for number in parts:
        for name, dirent in (forms[number].directory(path) or {}).items():
            if name in hidden:
                continue
            is_directory = stat.S_ISDIR(dirent.mode)
            above = shown.get(name)
            if above is None:
                if _is_whiteout(dirent):
                    hidden.add(name)
                    continue
                shown[name] = (dirent, (number,) if is_directory else ())
            elif is_directory:
                shown[name] = (above[0], (*above[1], number))
            if not is_directory or _is_opaque(dirent):
                hidden.add(name)
    return shown


def _with_directories(layers: Sequence[LayerTree], flat: Tree) -> Tree:
    """Return the root file system in which no layer goes through what is no directory.

    The one that is given, where none does.
    """
    passed = [layer.implied | _only_needed(layer) for layer in layers]
    anywhere = frozenset[bytes]().union(*passed[1:])
    others: set[bytes] = set()
    naming: list[LayerTree] = []
    for layer, own in zip(layers, passed, strict=True):
        naming.append(_naming(layer, own & others))
        others.update(anywhere.intersection(_no_directories(layer)))
    if all(each is layer for each, layer in zip(naming, layers, strict=True)):
        return flat
    return merge(naming)


def _no_directories(layer: LayerTree) -> Iterator[bytes]:
    for path, entries in layer.tree.directories.items():
        for name, dirent in entries.items():
            if not stat.S_ISDIR(dirent.mode):
                yield _join(path, name)


def _only_needed(layer: LayerTree) -> set[bytes]:
    """Return the directories that the layer does not have, and needs to delete in."""
    needed: set[bytes] = set()
    for path in layer.opaque | layer.whiteouts.keys():
        while path and path not in layer.tree.directories and path not in needed:
            needed.add(path)
            path = path.rpartition(b"/")[0]  # noqa: PLW2901 - up to what it has
    return needed


def _naming(layer: LayerTree, paths: set[bytes]) -> LayerTree:
    """Return the layer as if it named some directories that it passes through."""
    if not paths:
        return layer
    directories = Directories()
    for path in layer.tree.directories:
        directories.share(path, layer.tree.directories, path)
    implied = layer.implied - paths
    for path in sorted(paths):
        missing = []
        while path not in directories:
            missing.append(path)
            path = path.rpartition(b"/")[0]  # noqa: PLW2901 - up to what it has
        for made in reversed(missing):
            parent, _, name = made.rpartition(b"/")
            directories.put(parent, name, _MADE)
            directories[made] = {}
            if made not in paths:
                implied.add(made)
    return replace(layer, tree=Tree(layer.tree.root, directories), implied=implied)


def _lacks(layer: LayerTree, path: bytes) -> bool:
    return path not in layer.tree.directories


def _is_named(layer: LayerTree, path: bytes) -> bool:
    return path in layer.tree.directories and path not in layer.implied


def _is_whiteout(dirent: Dirent) -> bool:
    return stat.S_ISCHR(dirent.mode) and dirent.device == 0


def _is_opaque(dirent: Dirent) -> bool:
    return any(name in _MARKS for name, _ in dirent.xattrs)


def _alone(dirent: Dirent) -> Dirent:
    """Return an entry without its other names and what makes it opaque."""
    kept = tuple(pair for pair in dirent.xattrs if pair[0] not in _MARKS)
    return dirent._replace(link_group=0, xattrs=kept)


def _join(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name


def _text(directory: bytes, name: bytes) -> str:
    return "/" + _join(directory, name).decode(errors="backslashreplace")
