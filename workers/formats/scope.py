"""What a publication of one name may change in a repository, and what stands there.

Commits of several processes go through Redis. Whatever comes out of there may change
the name that its run is for and what lies beside it, trees that are named by digest,
and podman's store; nothing else, however it got there.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence

from workers.cvmfs import (
    Change,
    Dirent,
    EditRecords,
    GraftTree,
    PutFile,
    PutLink,
    RemovePath,
    RequirePath,
)
from workers.formats import formats
from workers.formats.documents import RECEIPT
from workers.formats.paths import (
    FORMER,
    METADATA,
    MULTIARCH,
    PODMAN,
    image_path,
    metadata_path,
)
from workers.publishing.publisher import PublishedTree
from workers.reference import InvalidReference, Reference

# Clients and tools of CVMFS give them a meaning.
_RESERVED = b".cvmfs"
# "", ".flat", two digits, the digest.
_SHELF_DEPTH = 4


def objection(reference: str, changes: Sequence[Change]) -> str | None:
    """Say why changes are not all a run's over a reference; None if they are."""
    try:
        own = Reference.parse(reference)
    except InvalidReference as error:
        return str(error)
    for change in changes:
        if not isinstance(change, RequirePath) and not _is_own(change, own):
            path = change.path[:200].decode(errors="backslashreplace")
            return f"{path!r} is not to be changed for {own}"
    return None


def state(tree: PublishedTree, reference: str) -> str:
    """Return what is published under a reference, as a text that tells it from others.

    Each publication of another image writes another receipt. After a removal there is
    none, and what is remembered of the image has another time.
    """
    own = Reference.parse(reference)
    receipt = tree.lookup(metadata_path(own) + b"/" + RECEIPT)
    facts = [_fact(b"", receipt)]
    former = FORMER + image_path(own)
    if receipt is None and tree.lookup(former) is not None:
        for name in sorted(tree.listdir(former)):
            document = tree.lookup(b"%s/%s/%s" % (former, name, RECEIPT))
            facts.append(_fact(name, document))
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _fact(name: bytes, entry: Dirent | None) -> object:
    return name, entry and (entry.mtime, entry.content)


def _is_own(change: Change, own: Reference) -> bool:
    path = change.path
    parts = path.split(b"/")
    if parts[0] or any(
        part in {b"", b".", b".."} or part.startswith(_RESERVED) for part in parts[1:]
    ):
        return False
    if _is_on_shelf(parts) or path.startswith(PODMAN + b"/"):
        return _names_only(change, own)
    if isinstance(change, GraftTree | EditRecords):
        return False
    if path in {image_path(own), *_platform_links(path, own)}:
        return isinstance(change, RemovePath) or _leads_inside(change)
    if path.startswith(MULTIARCH + b"/"):
        # A folder's other name, which leads to one beside it.
        return (
            isinstance(change, PutLink)
            and path.rpartition(b"/")[0] == MULTIARCH
            and b"/" not in change.target
            and change.target not in {b"", b".", b".."}
        )
    return isinstance(change, PutFile | RemovePath) and _is_beside(path, own)


def _is_on_shelf(parts: Sequence[bytes]) -> bool:
    return (
        len(parts) == _SHELF_DEPTH
        and b"/".join(parts[:2]) in {each.shelf for each in formats.FORMATS}
        and parts[3].startswith(parts[2])
    )


def _platform_links(path: bytes, own: Reference) -> Iterator[bytes]:
    """Yield the path if it is a link of one platform of the name."""
    if path.startswith(MULTIARCH + b"/"):
        folder = path.removeprefix(MULTIARCH + b"/").partition(b"/")[0]
        yield b"%s/%s%s" % (MULTIARCH, folder, image_path(own))


def _is_beside(path: bytes, own: Reference) -> bool:
    """Tell whether a path is of what is said of the name, now or formerly."""
    said = [metadata_path(own), FORMER + image_path(own)]
    if path.startswith(METADATA + MULTIARCH + b"/"):
        said += [METADATA + one for one in _platform_links(path[len(METADATA) :], own)]
    return any(_is_at_or_below(path, folder) for folder in said)


def _is_at_or_below(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder + b"/")


def _leads_inside(change: Change) -> bool:
    """Tell whether a link leads to what is published of images."""
    if not isinstance(change, PutLink) or change.target.startswith(b"/"):
        return False
    place = change.path.split(b"/")[:-1]
    for part in change.target.split(b"/"):
        if part == b"..":
            place = place[:-1]
            if not place:
                return False
        elif part not in {b"", b"."}:
            place.append(part)
    return b"/".join(place[:2]) in {
        MULTIARCH,
        *(each.shelf for each in formats.FORMATS if each.shelf),
    }


def _names_only(change: Change, own: Reference) -> bool:
    """Tell whether the names that records give and take are the reference's."""
    if not isinstance(change, EditRecords):
        return True
    names: list[object] = [*change.names]
    for record in change.records:
        given = json.loads(record).get("names") or []
        names += given if isinstance(given, list) else [given]
    return all(_is_name(name, own) for name in names)


def _is_name(name: object, own: Reference) -> bool:
    by_digest = f"{own.name}@"
    return name == str(own) or (isinstance(name, str) and name.startswith(by_digest))
