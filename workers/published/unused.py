"""What a repository holds that nobody uses any more, and taking it out of its tree.

Used is every tree that a link leads to, or that the manifest of an image names which is
published, or was until a while ago and so can be restored. Only trees that we made
ourselves are ever taken out; what is not understood stops everything.

Jobs that rely on a tree have its being there for a condition of their commit
(``RequireAt``), so that what goes meanwhile is made again.
"""

import json
import os
import stat
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from workers.cvmfs import Dirent, FormatError, RemovePath, Repository, Snapshot
from workers.errors import PermanentError, TransientError, WorkerError
from workers.formats.flat import RECEIPT
from workers.formats.layers import layer_path, record_path
from workers.formats.paths import FLAT, FORMER, IMAGES, LAYERS, METADATA, flat_path
from workers.formats.receipt import UNTIL
from workers.formats.singularity import MARK
from workers.images.manifest import parse_manifest

_SHELVES = (FLAT, LAYERS)
_MANIFEST = b"/manifest.json"
_LARGEST_DOCUMENT = 16 << 20
_TRIES = 5
# "", ".flat", two digits, the digest.
_TREE_DEPTH = 4


class NotUnderstood(PermanentError):
    """Something in the repository that could be the use of a tree."""


class TooBusy(TransientError):
    """Somebody published whenever we had found out what nobody uses."""


@dataclass(frozen=True, slots=True)
class Pruning:
    """What is to be taken out of a revision.

    Attributes:
        revision: that it was found in.
        unused: paths of trees and squashfs files, sorted.
        forgotten: folders of what is remembered no longer, sorted.
        used: number of trees that stay because they are used.
        foreign: number of those that stay because we did not make them.
    """

    revision: int
    unused: tuple[bytes, ...]
    forgotten: tuple[bytes, ...]
    used: int
    foreign: int


def find_unused(snapshot: Snapshot, fqrn: str, *, since: float) -> Pruning:
    """Find what nobody uses in a revision.

    Args:
        snapshot: the revision.
        fqrn: of the repository; links may begin with where it is mounted.
        since: what was live at this time or later can be restored.

    Raises:
        NotUnderstood: it cannot be told; nothing may be taken out.
        FormatError: the repository cannot be read.
    """
    used: set[bytes] = set()
    forgotten: list[bytes] = []
    for path, entry in _outside(snapshot, b""):
        if _is_former(path) and stat.S_ISDIR(entry.mode):
            receipt = snapshot.lookup(path + b"/" + RECEIPT)
            if receipt is not None and _until(snapshot, path, receipt) < since:
                forgotten.append(path)
        elif any(path.startswith(folder + b"/") for folder in forgotten[-1:]):
            continue
        elif stat.S_ISLNK(entry.mode):
            used.add(_tree_of(path, entry.target, fqrn))
        elif path.startswith(METADATA + b"/") and path.endswith(_MANIFEST):
            used |= _named(snapshot, path, entry)
    unused, in_use, foreign = list(_unused_files(snapshot, used)), 0, 0
    for path in _trees(snapshot):
        if path in used:
            in_use += 1
        elif _is_ours(snapshot, path):
            unused.append(path)
        else:
            foreign += 1
    found = (tuple(sorted(unused)), tuple(sorted(forgotten)))
    return Pruning(snapshot.revision, *found, in_use, foreign)


def prune(repository: Repository, fqrn: str, *, since: float) -> tuple[Pruning, int]:
    """Take out what nobody uses, in one revision; others publish meanwhile.

    Returns:
        What was taken out, and the revision without it.

    Raises:
        TooBusy: trying again later may help; nothing was taken out.
        NotUnderstood, FormatError: as ``find_unused``; nothing was taken out.
    """
    for _ in range(_TRIES):
        found = find_unused(repository.read(), fqrn, since=since)
        removals = [RemovePath(path) for path in (*found.unused, *found.forgotten)]

        def check(revision: int = found.revision) -> None:
            # Under the lock: what was published meanwhile may use any of it.
            if repository.head().revision != revision:
                raise _Outdated

        try:
            done = repository.commit(removals, now=int(time.time()), check=check)
        except _Outdated:
            continue
        return found, done.number
    raise TooBusy(f"{fqrn}: others published all the time; prune it at a quieter time")


class _Outdated(Exception):
    """There is a newer revision than the one that was looked at."""


def _outside(snapshot: Snapshot, above: bytes) -> Iterator[tuple[bytes, Dirent]]:
    """Yield all entries that are not on the shelves, folders before their entries."""
    for name, entry in snapshot.listdir(above).items():
        path = above + b"/" + name
        if path in _SHELVES:
            continue
        yield path, entry
        if stat.S_ISDIR(entry.mode):
            yield from _outside(snapshot, path)


def _trees(snapshot: Snapshot) -> Iterator[bytes]:
    for shelf in _SHELVES:
        if snapshot.lookup(shelf) is None:
            continue
        for shard, entry in snapshot.listdir(shelf).items():
            if stat.S_ISDIR(entry.mode):
                place = shelf + b"/" + shard
                for name, tree in snapshot.listdir(place).items():
                    if stat.S_ISDIR(tree.mode):
                        yield place + b"/" + name


def _unused_files(snapshot: Snapshot, used: Collection[bytes]) -> Iterator[bytes]:
    """Yield the squashfs files whose tree nobody uses."""
    if snapshot.lookup(IMAGES) is None:
        return
    for shard, folder in snapshot.listdir(IMAGES).items():
        if stat.S_ISDIR(folder.mode):
            for name in snapshot.listdir(IMAGES + b"/" + shard):
                config, _, suffix = name.partition(b".")
                tree = FLAT + b"/" + shard + b"/" + config
                if suffix == b"sqfs" and tree not in used:
                    yield IMAGES + b"/" + shard + b"/" + name


def _tree_of(link: bytes, target: bytes, fqrn: str) -> bytes:
    """Return the path of the tree that a link leads to, or into; b"" for none."""
    mount = b"/cvmfs/" + fqrn.encode()
    if target.startswith(mount + b"/"):
        target = target.removeprefix(mount)
    path = os.path.normpath(os.path.join(os.path.dirname(link), target))  # noqa: PTH118, PTH120 - bytes
    parts = path.split(b"/")[:_TREE_DEPTH]
    return b"/".join(parts) if b"/".join(parts[:2]) in _SHELVES else b""


def _named(snapshot: Snapshot, path: bytes, entry: Dirent) -> set[bytes]:
    """Return the trees that a manifest names."""
    try:
        manifest = parse_manifest(_document(snapshot, path, entry))
    except WorkerError as error:
        raise _not_understood(path, error) from error
    layers = {layer_path(layer.digest) for layer in manifest.layers}
    return {flat_path(manifest.config.digest)} | layers


def _is_former(path: bytes) -> bool:
    """Whether a folder remembers one digest: it lies under a name with its tag."""
    if not path.startswith(FORMER + b"/"):
        return False
    name = path.rpartition(b"/")[0].rpartition(b"/")[2]
    # A registry's port has a colon, too, and no name above it.
    return b":" in name and path.count(b"/") > FORMER.count(b"/") + 2


def _until(snapshot: Snapshot, folder: bytes, receipt: Dirent) -> float:
    try:
        said = json.loads(_document(snapshot, folder + b"/" + RECEIPT, receipt))
        return float(said[UNTIL])
    except (ValueError, KeyError, TypeError) as error:
        raise _not_understood(folder + b"/" + RECEIPT, error) from error


def _document(snapshot: Snapshot, path: bytes, entry: Dirent) -> bytes:
    if entry.content is None or entry.content.size > _LARGEST_DOCUMENT:
        raise _not_understood(path, "it is no small file")
    try:
        return snapshot.read(entry)
    except FormatError as error:
        raise _not_understood(path, error) from error


def _not_understood(path: bytes, why: object) -> NotUnderstood:
    shown = path.decode(errors="backslashreplace")
    return NotUnderstood(
        f"{shown}: {why}; what it uses cannot be told, so nothing is pruned: mend or"
        " remove it"
    )


def _is_ours(snapshot: Snapshot, tree: bytes) -> bool:
    """Tell whether we made a tree, as opposed to another tool that may still use it."""
    if tree.startswith(FLAT + b"/"):
        mark, content = MARK
        entry = snapshot.lookup(tree + b"/" + mark)
        return (
            entry is not None
            and entry.content is not None
            and entry.content.size == len(content)
            and snapshot.read(entry) == content
        )
    digest = "sha256:" + tree.rpartition(b"/")[2].decode("ascii", "replace")
    return snapshot.lookup(record_path(digest)) is not None
