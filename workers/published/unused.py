"""What a repository holds that nobody uses any more, and taking it out of its tree.

Used is every tree that a link leads to, or that the manifest of an image names which is
published, or was until a while ago and so can be restored. Only trees that we made
ourselves are ever taken out; what is not understood stops everything.

Jobs that rely on a tree have its being there for a condition of their commit
(``RequireAt``), so that what goes meanwhile is made again.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from workers.cvmfs import Dirent, FormatError
from workers.errors import PermanentError, TransientError, WorkerError
from workers.formats import formats
from workers.formats.documents import MANIFEST, RECEIPT, read_entry
from workers.formats.format import Format
from workers.formats.history import is_former_path
from workers.formats.paths import METADATA
from workers.formats.receipt import Receipt
from workers.images.manifest import parse_manifest
from workers.publishing.plan import Plan, RemoveAt
from workers.publishing.publisher import Fence, PublishedTree, Publisher, publish

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


def find_unused(tree: PublishedTree, fqrn: str, *, since: float) -> Pruning:
    """Find what nobody uses in a revision.

    Args:
        tree: the revision.
        fqrn: of the repository; links may begin with where it is mounted.
        since: what was live at this time or later can be restored.

    Raises:
        NotUnderstood: it cannot be told; nothing may be taken out.
        FormatError: the repository cannot be read.
    """
    used: set[bytes] = set()
    forgotten: list[bytes] = []
    for path, entry in _outside(tree, b""):
        if is_former_path(path) and stat.S_ISDIR(entry.mode):
            receipt = tree.lookup(path + b"/" + RECEIPT)
            if receipt is not None and _until(tree, path, receipt) < since:
                forgotten.append(path)
        elif any(path.startswith(folder + b"/") for folder in forgotten[-1:]):
            continue
        elif stat.S_ISLNK(entry.mode):
            used.add(_tree_of(path, entry.target, fqrn))
        elif path.startswith(METADATA + b"/") and path.endswith(b"/" + MANIFEST):
            used |= _named(tree, path, entry)
    unused: list[bytes] = []
    in_use = foreign = 0
    for each, path, is_directory in _on_shelves(tree):
        keeper = each.kept_by(path)
        if keeper not in used and each.is_ours(tree, path):
            unused.append(path)
        elif keeper == path:
            in_use += path in used
            foreign += is_directory and path not in used
    found = (tuple(sorted(unused)), tuple(sorted(forgotten)))
    return Pruning(tree.revision, *found, in_use, foreign)


def prune(publisher: Publisher, fqrn: str, *, since: float) -> tuple[Pruning, int]:
    """Take out what nobody uses, in one revision; others publish meanwhile.

    Returns:
        What was taken out, and the revision without it.

    Raises:
        TooBusy: trying again later may help; nothing was taken out.
        NotUnderstood: as ``find_unused``; nothing was taken out.
        RepositoryUnavailable, PublicationFailed: nothing was taken out.
    """
    for _ in range(_TRIES):
        found = find_unused(publisher.published(), fqrn, since=since)
        paths = (*found.unused, *found.forgotten)
        plan = Plan(fqrn, tuple(RemoveAt(path) for path in paths))

        def check(revision: int = found.revision) -> None:
            # Under the lock: what was published meanwhile may use any of it.
            if publisher.published().revision != revision:
                raise _Outdated

        try:
            done = publish(publisher, [plan], Fence(check))
        except _Outdated:
            continue
        return found, done.revision
    raise TooBusy(f"{fqrn}: others published all the time; prune it at a quieter time")


class _Outdated(Exception):
    """There is a newer revision than the one that was looked at."""


def _outside(tree: PublishedTree, above: bytes) -> Iterator[tuple[bytes, Dirent]]:
    """Yield all entries that are not on the shelves, folders before their entries."""
    shelves = _shelves()
    for name, entry in tree.listdir(above).items():
        path = above + b"/" + name
        if path in shelves:
            continue
        yield path, entry
        if stat.S_ISDIR(entry.mode):
            yield from _outside(tree, path)


def _shelves() -> set[bytes]:
    return {each.shelf for each in formats.FORMATS if each.shelf}


def _on_shelves(tree: PublishedTree) -> Iterator[tuple[Format, bytes, bool]]:
    """Yield what formats have made, or others in their places, and if it is a tree."""
    for each in formats.FORMATS:
        if not each.shelf or tree.lookup(each.shelf) is None:
            continue
        for shard, folder in tree.listdir(each.shelf).items():
            if stat.S_ISDIR(folder.mode):
                place = each.shelf + b"/" + shard
                for name, entry in tree.listdir(place).items():
                    yield each, place + b"/" + name, stat.S_ISDIR(entry.mode)


def _tree_of(link: bytes, target: bytes, fqrn: str) -> bytes:
    """Return the path of the tree that a link leads to, or into; b"" for none."""
    mount = b"/cvmfs/" + fqrn.encode()
    if target.startswith(mount + b"/"):
        target = target.removeprefix(mount)
    path = os.path.normpath(os.path.join(os.path.dirname(link), target))  # noqa: PTH118, PTH120 - bytes
    parts = path.split(b"/")[:_TREE_DEPTH]
    return b"/".join(parts) if b"/".join(parts[:2]) in _shelves() else b""


def _named(tree: PublishedTree, path: bytes, entry: Dirent) -> set[bytes]:
    """Return the trees that a manifest names."""
    try:
        manifest = parse_manifest(_document(tree, path, entry))
    except WorkerError as error:
        raise _not_understood(path, error) from error
    return {path for each in formats.FORMATS for path in each.relies_on(manifest)}


def _until(tree: PublishedTree, folder: bytes, entry: Dirent) -> float:
    path = folder + b"/" + RECEIPT
    receipt = Receipt.parse(_document(tree, path, entry))
    if receipt is None or receipt.until is None:
        raise _not_understood(path, "it does not say until when it was live")
    return receipt.until


def _document(tree: PublishedTree, path: bytes, entry: Dirent) -> bytes:
    try:
        document = read_entry(tree, entry)
    except (FormatError, WorkerError) as error:
        raise _not_understood(path, error) from error
    if document is None:
        raise _not_understood(path, "it is no small file")
    return document


def _not_understood(path: bytes, why: object) -> NotUnderstood:
    shown = path.decode(errors="backslashreplace")
    return NotUnderstood(
        f"{shown}: {why}; what it uses cannot be told, so nothing is pruned: mend or"
        " remove it"
    )
