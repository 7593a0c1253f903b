"""Which revisions garbage collection keeps.

A revision is kept when it is one of the newest, or young, or was replaced by a young
one (clients may have mounted it until then), or has a tag. The line of revisions is
followed by ``previous_revision``, as far as the reflog lists them: collection takes a
revision off the reflog before it deletes any of it, so what is listed is whole.

Source: cvmfs-format.md section 7.3.
"""

from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from workers.cvmfs.catalog.reader import NestedCatalog, load_catalog
from workers.cvmfs.commit.head import load_history
from workers.cvmfs.revisions.reflog import ReferenceType, Reflog, ReflogReference
from workers.cvmfs.signing.manifest import RepositoryManifest
from workers.cvmfs.storage.storage import ObjectSource
from workers.cvmfs.values.hash import ContentHash

DAY_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Retention:
    """What garbage collection is to keep.

    Attributes:
        newest: so many revisions, the current one included.
        seconds: and all that were current within that time.
        grace_seconds: and every object put within that time, whoever put it: longer
            than any publish takes. Shorter is safe too, but makes publishers that were
            overtaken begin again.
        extra_roots: and these catalogs with all they name: prepared trees of running
            jobs.
    """

    newest: int = 1
    seconds: int = 3 * DAY_SECONDS
    grace_seconds: int = DAY_SECONDS
    extra_roots: tuple[NestedCatalog, ...] = ()


class Kept(NamedTuple):
    """The root catalogs that are kept.

    Attributes:
        roots: all of them, those of tags included.
        oldest: ``last_modified`` of the oldest that is kept for its age.
    """

    roots: dict[ContentHash, NestedCatalog]
    oldest: int


def kept_roots(
    source: ObjectSource,
    head: RepositoryManifest,
    reflog: Reflog,
    retention: Retention,
    now: int,
) -> Kept:
    """Decide which root catalogs are kept.

    Raises:
        NotFound: one that should be there is not.
        Damaged: one cannot be read.
        Malformed: one cannot be read.
    """
    roots: dict[ContentHash, NestedCatalog] = {}
    oldest = now
    current: NestedCatalog | None
    current = NestedCatalog(b"", head.root_catalog, head.root_catalog_size)
    is_young = True
    while current is not None and (is_young or len(roots) < retention.newest):
        roots[current.hash] = current
        with closing(load_catalog(source, current)) as catalog:
            oldest = catalog.last_modified
            is_young = oldest >= now - retention.seconds
            previous = catalog.previous_revision
        current = None
        if previous is not None and previous not in roots:
            reference = ReflogReference(previous, ReferenceType.CATALOG)
            if reflog.contains(reference):
                current = NestedCatalog(b"", previous, 0)
    with closing(load_history(source, head)) as history:
        for tag in history.tags():
            size = tag.root_catalog_size
            named = NestedCatalog(b"", tag.root_catalog, size)
            roots.setdefault(tag.root_catalog, named)
    return Kept(roots, oldest)
