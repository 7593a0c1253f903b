"""The reflog as a commit needs it, whatever state it was left in.

It is written just before the manifest, so a writer killed in between leaves one that is
ahead of the manifest's hash; the stock garbage collection rewrites it and never the
manifest. Neither is damage. Where the file is gone or unreadable, it is made again from
what can still be reached.
"""

from collections.abc import Iterator
from contextlib import closing

from workers.cvmfs.catalog.database import closed_on_error
from workers.cvmfs.catalog.reader import NestedCatalog, load_catalog
from workers.cvmfs.errors import Malformed, NotFound
from workers.cvmfs.objects.objects import get_object
from workers.cvmfs.revisions.history import History
from workers.cvmfs.revisions.reflog import ReferenceType, Reflog, ReflogReference
from workers.cvmfs.signing.manifest import RepositoryManifest
from workers.cvmfs.storage.storage import REFLOG, ObjectSource
from workers.cvmfs.values.hash import ContentHash, Kind


def load_reflog(
    source: ObjectSource, head: RepositoryManifest, now: int
) -> tuple[Reflog, bool]:
    """Read the reflog of a repository, and tell whether it is as the head says.

    Where it is not sound, a commit is to write it again even if nothing else changes.

    Args:
        source: the storage.
        head: the manifest, verified.
        now: the time for references that have to be listed again.
    """
    try:
        data = source.get(REFLOG)
        reflog = Reflog(data, head.fqrn)
        is_named = head.reflog is not None and head.reflog == ContentHash.of(
            data, head.reflog.algorithm
        )
        # What the manifest names was read by whoever signed it. To read it again would
        # take most of a commit's time in a repository of thousands of revisions.
        with closed_on_error(reflog):
            if not is_named:
                reflog.references()
            is_sound = is_named and all(map(reflog.contains, references_of(head)))
    except (NotFound, Malformed):
        return _made_again(source, head, now), False
    return reflog, is_sound


def references_of(manifest: RepositoryManifest) -> list[ReflogReference]:
    """Return what a manifest names and the reflog has to list."""
    named = (
        (manifest.root_catalog, ReferenceType.CATALOG),
        (manifest.certificate, ReferenceType.CERTIFICATE),
        (manifest.history, ReferenceType.HISTORY),
        (manifest.metainfo, ReferenceType.METAINFO),
    )
    return [
        ReflogReference(digest, kind) for digest, kind in named if digest is not None
    ]


def _made_again(source: ObjectSource, head: RepositoryManifest, now: int) -> Reflog:
    reflog = Reflog(None, head.fqrn)
    with closed_on_error(reflog):
        for root in (head.root_catalog, *_tagged(source, head)):
            for ancestor in _with_predecessors(source, root):
                reference = ReflogReference(ancestor, ReferenceType.CATALOG)
                if reflog.contains(reference):
                    break  # here two lines of descent meet
                reflog.add(reference, now)
        for reference in references_of(head):
            reflog.add(reference, now)
    return reflog


def _tagged(source: ObjectSource, head: RepositoryManifest) -> list[ContentHash]:
    if head.history is None:
        return []
    data = get_object(source, head.history, Kind.HISTORY)
    with closing(History(data, head.fqrn)) as history:
        return [tag.root_catalog for tag in history.tags()]


def _with_predecessors(
    source: ObjectSource, root: ContentHash
) -> Iterator[ContentHash]:
    """Yield a root catalog and those before it, as far as they have been kept."""
    current: ContentHash | None = root
    while current is not None:
        try:
            catalog = load_catalog(source, NestedCatalog(b"", current, 0))
        except NotFound:
            return
        yield current
        with closing(catalog):
            current = catalog.previous_revision
