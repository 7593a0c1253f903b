"""Names for revisions, and the way back to them.

A *tag* is a name that keeps a revision from being collected. *Rolling back* publishes a
copy of an old root catalog as a new revision with a higher number, as clients take no
other; everything below it is shared with the old one.

Source: cvmfs/swissknife_history.cc; cvmfs-format.md sections 6.1 and 7.1.
"""

from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import replace

from workers.cvmfs.catalog.editor import CatalogEditor
from workers.cvmfs.catalog.reader import Catalog, NestedCatalog, load_catalog
from workers.cvmfs.commit.head import OpenHead, load_history, open_head
from workers.cvmfs.errors import InvalidChange, NotFound
from workers.cvmfs.revisions.history import TRUNK, Tag
from workers.cvmfs.revisions.reflog import ReferenceType, ReflogReference
from workers.cvmfs.signing.keys import KeyRing
from workers.cvmfs.signing.manifest import RepositoryManifest
from workers.cvmfs.storage.storage import ObjectSource, Storage
from workers.cvmfs.values.hash import ContentHash, Kind

_MAX_NAME = 255
_NAMES_SHOWN = 8


def add_tag(
    fqrn: str,
    storage: Storage,
    keys: KeyRing,
    name: str,
    *,
    now: int,
    description: str = "",
) -> Tag:
    """Name the current revision.

    Raises:
        InvalidChange: no name for a tag, or one that is taken.
        FormatError: whatever else is wrong; nothing has changed then.
    """
    _check_name(name)
    with open_head(storage, fqrn, keys, now) as head:
        manifest = head.manifest
        tag = Tag(
            name,
            manifest.root_catalog,
            manifest.root_catalog_size,
            manifest.revision,
            manifest.timestamp,
            description,
        )
        with closing(load_history(storage, manifest)) as history:
            if any(known.name == name for known in history.tags()):
                raise InvalidChange(f"{fqrn} has a tag {name} already: remove it first")
            history.add(tag)
            changed = head.put(history.finish(), Kind.HISTORY)
        head.publish(replace(manifest, history=changed), now)
    return tag


def remove_tag(
    fqrn: str, storage: Storage, keys: KeyRing, name: str, *, now: int
) -> None:
    """Take a name away; the revision may be collected then.

    Raises:
        InvalidChange: a name that publishing itself maintains.
        NotFound: there is no such tag.
        FormatError: whatever else is wrong; nothing has changed then.
    """
    _check_name(name)
    with open_head(storage, fqrn, keys, now) as head:
        with closing(load_history(storage, head.manifest)) as history:
            if all(known.name != name for known in history.tags()):
                known = _known([tag.name for tag in history.tags()])
                raise NotFound(f"{fqrn} has no tag {name!r}; {known}")
            history.remove(name)
            changed = head.put(history.finish(), Kind.HISTORY)
        head.publish(replace(head.manifest, history=changed), now)


def roll_back(
    fqrn: str, storage: Storage, keys: KeyRing, target: str, *, now: int
) -> RepositoryManifest:
    """Publish an old revision again, under a new number.

    Tags stay where they are.

    Args:
        fqrn: the repository's name.
        storage: where it lies.
        keys: to sign with.
        target: a tag, or the number of a revision.
        now: unix time.

    Returns:
        The new manifest.

    Raises:
        NotFound: no such tag, or no such revision any more.
        FormatError: whatever else is wrong; nothing has changed then.
    """
    with open_head(storage, fqrn, keys, now) as head:
        old = _find(storage, head, target)
        manifest = head.manifest
        revision = manifest.revision + 1
        base = load_catalog(storage, old)
        with closing(CatalogEditor(base, old.hash)) as editor:
            # The line of revisions goes on from the current one, and back only to it:
            # collection follows it.
            data = editor.finish(
                now,
                TTL=str(manifest.ttl),
                revision=str(revision),
                previous_revision=str(manifest.root_catalog),
            )
        root = NestedCatalog(b"", head.put(data, Kind.CATALOG), len(data))
        with closing(load_history(storage, manifest)) as history:
            history.move_trunk(root.hash, root.size, revision, now)
            changed = head.put(history.finish(), Kind.HISTORY)
        return head.publish(
            replace(
                manifest,
                root_catalog=root.hash,
                root_catalog_size=root.size,
                revision=revision,
                history=changed,
            ),
            now,
        )


def _find(source: ObjectSource, head: OpenHead, target: str) -> NestedCatalog:
    with closing(load_history(source, head.manifest)) as history:
        tags = {tag.name: tag for tag in history.tags()}
    found = tags.get(target)
    if found is not None:
        return NestedCatalog(b"", found.root_catalog, found.root_catalog_size)
    if not (target.isascii() and target.isdecimal()):
        raise NotFound(f"{head.manifest.fqrn} has no tag {target!r}; {_known(tags)}")
    for root, catalog in _kept_line(source, head):
        if catalog.revision == int(target):
            return NestedCatalog(b"", root, catalog.size)
    for tag in tags.values():
        if tag.revision == int(target):
            return NestedCatalog(b"", tag.root_catalog, tag.root_catalog_size)
    raise NotFound(
        f"{head.manifest.fqrn} has no revision {target} (any more), and no tag of it"
    )


def _known(names: Collection[str]) -> str:
    """Return the names of tags for a message, not all if there are many."""
    shown = ", ".join(list(names)[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"there is {shown or 'none'}" + (f" and {more} more" if more > 0 else "")


def _kept_line(
    source: ObjectSource, head: OpenHead
) -> Iterator[tuple[ContentHash, Catalog]]:
    """Yield the revisions from the current one backwards, as far as they are whole.

    What collection has given up is not on the reflog.
    """
    current: ContentHash | None = head.manifest.root_catalog
    while current is not None:
        with closing(load_catalog(source, NestedCatalog(b"", current, 0))) as catalog:
            yield current, catalog
            current = catalog.previous_revision
        if current is not None and not head.reflog.contains(
            ReflogReference(current, ReferenceType.CATALOG)
        ):
            return


def _check_name(name: str) -> None:
    """Refuse names that the stock tools refuse, or maintain themselves."""
    if name.startswith(TRUNK):
        raise InvalidChange(f"tag {name!r}: names in trunk… are publishing's own")
    if (
        not name
        or len(name) > _MAX_NAME
        or not name.isprintable()
        or any(character.isspace() for character in name)
    ):
        raise InvalidChange(f"tag {name[:80]!r}: a name has 1 to 255 signs, no space")
