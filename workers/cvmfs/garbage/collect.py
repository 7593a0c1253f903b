"""Garbage collection: mark what revisions name, sweep everything else.

Unlike the stock tools, which start from the revisions they give up, the sweep goes over
a listing of the storage, so what aborted publishes left behind is found as well.

The story, ``collect_garbage``:

1. mark, without the lock: everything that the kept revisions (``retention.py``) name;
2. list the storage: what is not marked and older than the grace time is garbage;
3. take the lock, mark what has been published since, take the revisions that are given
   up off the reflog, sign the manifest again (its ``Y`` is new, its ``S`` is not);
4. delete, some thousand objects at a time; the lock is free in between, and each time
   what has been published since is marked first;
5. delete what dead writers left in ``data/txn``, and note the time of the collection
   where the stock tools look for it.

**Why no publisher is harmed.** A publisher skips what the storage has, so garbage that
it found there may be deleted before its commit names it. Three things stand against
that; the first alone suffices, the others make it rare:

- *Looked up again under the lock.* Deletions happen under the lock only, and each
  changes the ``deletion_mark``. A prepared tree carries the mark that was there before
  everything it names was put or looked up. If it is still there when the commit has the
  lock, nothing has been deleted since. If not, the commit looks up every object of the
  tree (two microseconds each on a local disk), and refuses with ``ContentCollected``
  when one is gone: the publisher forgets what it knew and begins again. A mark that is
  missing, as a collection was killed, counts as another mark.
- *Grace, by the time of the last put.* To put what is there makes it young again, in a
  directory; in a bucket it stays as old as it is.
- *Marked again under the lock.* A commit between two batches puts what it names beyond
  the reach of the next one.

**Why nothing is lost.** If any catalog of a revision that is kept cannot be read, or is
not what its hash says, the whole collection ends before it deletes. A revision that is
given up leaves the reflog, on disk, before the first of its objects goes; tags,
rollback and later collections only ever follow what the reflog lists. So killed
anywhere, what is left of it is garbage that the next collection finds.

**Memory** does not grow with the storage: marks and the list of garbage are temporary
databases (some 50 MB on disk and 32 MiB in memory each for a million objects), and of
the listing a few of its 256 folders are held at a time.

Source: cvmfs/garbage_collection; cvmfs-format.md section 7.3.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

from workers.cvmfs.catalog.reader import NestedCatalog, load_catalog
from workers.cvmfs.commit.head import OpenHead, open_head
from workers.cvmfs.errors import FormatError, InvalidChange, StorageFailed
from workers.cvmfs.garbage.garbage_list import GarbageList
from workers.cvmfs.garbage.marks import Marks
from workers.cvmfs.garbage.progress import (
    EXPIRED,
    LEAKED,
    NOTHING,
    Collection,
    GivenUp,
    Stage,
    Tell,
)
from workers.cvmfs.garbage.retention import Kept, Retention, kept_roots
from workers.cvmfs.objects.objects import EMPTY_HASH
from workers.cvmfs.revisions.reflog import ReferenceType, Reflog, ReflogReference
from workers.cvmfs.revisions.reflog_repair import load_reflog, references_of
from workers.cvmfs.signing.keys import KeyRing
from workers.cvmfs.signing.manifest import RepositoryManifest
from workers.cvmfs.signing.trust import load_head
from workers.cvmfs.storage.deletion_mark import deleting, deletion_mark, note_collection
from workers.cvmfs.storage.storage import (
    RESERVE,
    CollectableStorage,
    ListedObject,
)
from workers.cvmfs.values.hash import ContentHash, Kind

_BATCH = 1_000
"""Deleting so many holds the lock for half a second on a slow, busy disk."""
_SHARDS = tuple(f"{number:02x}" for number in range(256))
_NAME = re.compile(r"([0-9a-f]{38})(|-rmd160|-shake128)([CHPXM]?)")
_LISTED_AHEAD = 8
_TEMPORARY = "txn"
_OURS = ("put-", "probe-", "clock-")
_KEPT = ("publish.lock", RESERVE.rpartition("/")[2])
_OTHERS_LEFTOVER_SECONDS = 7 * 24 * 3600
"""A temporary file of another tool that nobody has written to for so long, while we
hold the lock, is surely nobody's: no publish writes one file for a week."""
_KINDS = {kind.value: kind for kind in Kind}
_KIND_NAMES = {
    Kind.BULK: "files",
    Kind.PARTIAL: "chunks",
    Kind.CATALOG: "catalogs",
    Kind.HISTORY: "histories",
    Kind.CERTIFICATE: "certificates",
    Kind.METAINFO: "descriptions",
}


def collect_garbage(  # noqa: PLR0913 - what an operator decides, each by its name
    fqrn: str,
    storage: CollectableStorage,
    keys: KeyRing,
    *,
    now: int,
    stored_now: float | None = None,
    retention: Retention = Retention(),  # noqa: B008 - frozen
    dry_run: bool = False,
    tell: Tell = lambda _: None,
    rest: Callable[[], None] = lambda: None,
) -> Collection:
    """Delete what no revision that is kept has a use for.

    Args:
        fqrn: the repository's name.
        storage: where it lies.
        keys: to sign the manifest with.
        now: unix time.
        stored_now: the same by the clock of the storage, if that may differ.
        retention: what is kept.
        dry_run: whether to find garbage only, and take no lock.
        tell: is told how far it has come, and once, at the stage ``PLANNED``, what it
            is going to delete.
        rest: called between two batches, while the lock is free; it should last long
            enough for those who wait for the lock to notice.

    Raises:
        InvalidChange: the manifest forbids garbage collection (``G``).
        Damaged: a catalog that is kept cannot be read; nothing was deleted.
        RepositoryBusy: somebody holds the lock.
        FormatError: whatever else is wrong.
    """
    with ExitStack() as stack:
        marks = stack.enter_context(closing(Marks()))
        former = stack.enter_context(closing(Marks()))
        oldest = (now if stored_now is None else stored_now) - retention.grace_seconds
        run = _Run(fqrn, storage, keys, now, oldest, retention, marks, former, tell)
        for root in retention.extra_roots:
            marks.walk(storage, root)
        head, _ = load_head(storage, fqrn, keys.public_key)
        if not head.is_garbage_collectable:
            raise InvalidChange(f"{fqrn} forbids garbage collection (Gno)")
        reflog, _ = load_reflog(storage, head, now)
        with closing(reflog):
            kept = run.mark(head, reflog)
            given_up = run.given_up(head, reflog, kept)
        run.note(kept, given_up)
        for reference in given_up:
            former.add(reference.hash)
            if reference.type is ReferenceType.CATALOG:
                root = NestedCatalog(b"", reference.hash, 0)
                former.walk_what_is_left(storage, root, except_for=marks)
        garbage = stack.enter_context(closing(GarbageList()))
        run.list_into(garbage)
        leftovers = run.leftovers()
        run.enter(Stage.PLANNED)
        if not dry_run:
            run.enter(Stage.DELETING)
            run.delete(garbage, rest)
            run.finish(leftovers)
        return run.done


@dataclass(slots=True)
class _Run:
    """One collection; see ``collect_garbage``."""

    fqrn: str
    storage: CollectableStorage
    keys: KeyRing
    now: int
    older_than: float
    retention: Retention
    marks: Marks
    former: Marks
    tell: Tell
    done: Collection = field(default_factory=Collection)
    marked: RepositoryManifest | None = None

    def enter(self, stage: Stage) -> None:
        """Say what is begun."""
        self.done.stage = stage
        self.tell(self.done)

    def mark(self, head: RepositoryManifest, reflog: Reflog) -> Kept:
        """Mark everything that a head keeps.

        Raises:
            Damaged: something could not be read.
        """
        kept = kept_roots(self.storage, head, reflog, self.retention, self.now)
        for root in kept.roots.values():
            self.marks.walk(self.storage, root, self._count)
        given_up = self.given_up(head, reflog, kept)
        for reference in reflog.references():
            if reference not in given_up:
                self.marks.add(reference.hash)
        for reference in references_of(head):
            self.marks.add(reference.hash)
        # Commits that make a nested catalog rely on it being there, for its marker.
        self.marks.add(EMPTY_HASH)
        self.marked = head
        return kept

    def note(self, kept: Kept, given_up: set[ReflogReference]) -> None:
        """Say what becomes of the revisions."""
        self.done.revisions_kept = len(kept.roots)
        known = {one.root_catalog: one for one in self.done.revisions_given_up}
        gone = [
            known.get(reference.hash) or _described(self.storage, reference.hash)
            for reference in given_up
            if reference.type is ReferenceType.CATALOG
        ]
        gone.sort(key=lambda one: (-one.revision, one.root_catalog))
        self.done.revisions_given_up = tuple(gone)

    def _count(self) -> None:
        self.done.catalogs_read += 1
        self.tell(self.done)

    def given_up(
        self, head: RepositoryManifest, reflog: Reflog, kept: Kept
    ) -> set[ReflogReference]:
        """Return the references that are to leave the reflog."""
        named = references_of(head)
        return {
            reference
            for reference, added in reflog.references().items()
            if reference not in named
            and (
                not self.marks.contains(reference.hash)
                if reference.type is ReferenceType.CATALOG
                else added < kept.oldest
            )
        }

    def list_into(self, garbage: GarbageList) -> None:
        """Find all garbage, one folder at a time."""
        self.enter(Stage.LISTING)
        for shard, listed in _listed(self.storage):
            marked = self.marks.of_shard(shard)
            former = self.former.of_shard(shard)
            kept = kept_bytes = 0
            for found in listed:
                parsed = _parsed(shard, found.name)
                if parsed is None:
                    self.done.foreign += 1
                    continue
                content_hash, kind = parsed
                if content_hash in marked:
                    kept += 1
                    kept_bytes += found.size
                elif found.mtime >= self.older_than:
                    self.done.young = self.done.young.plus(found.size)
                else:
                    garbage.add(content_hash, kind, found.size)
                    why = EXPIRED if content_hash in former else LEAKED
                    key = (_KIND_NAMES[kind], why)
                    pile = self.done.garbage.get(key, NOTHING)
                    self.done.garbage[key] = pile.plus(found.size)
            self.done.kept = self.done.kept.plus(kept_bytes, kept)
            self.tell(self.done)

    def leftovers(self) -> Sequence[ListedObject]:
        """Find the temporary files whose writers are surely dead."""
        found = []
        for file in self.storage.list_objects(_TEMPORARY):
            if file.name in _KEPT:
                continue
            seconds = 0 if file.name.startswith(_OURS) else _OTHERS_LEFTOVER_SECONDS
            if file.mtime < self.older_than - seconds:
                found.append(file)
                self.done.leftovers = self.done.leftovers.plus(file.size)
            else:
                self.done.waiting = self.done.waiting.plus(file.size)
        return found

    def delete(self, garbage: GarbageList, rest: Callable[[], None]) -> None:
        """Give up revisions, then delete what was found and is still not named."""
        with open_head(self.storage, self.fqrn, self.keys, self.now) as head:
            self._give_up(head)
            if deletion_mark(self.storage) is None:
                # The last one was killed; we have the lock, so none is under way.
                with deleting(self.storage):
                    pass
        for batch in garbage.batches(_BATCH):
            rest()
            with open_head(self.storage, self.fqrn, self.keys, self.now) as head:
                self._mark_again(head)
                sizes = {
                    content_hash.path(kind): size
                    for content_hash, kind, size in batch
                    if not self.marks.contains(content_hash)
                }
                with deleting(self.storage):
                    self._delete(sizes)
            self.tell(self.done)

    def finish(self, leftovers: Sequence[ListedObject]) -> None:
        """Delete leftovers, and note that there was a collection."""
        with self.storage.lock():
            sizes = {f"data/{_TEMPORARY}/{one.name}": one.size for one in leftovers}
            self._delete(sizes)
            note_collection(self.storage, self.now)

    def _delete(self, sizes: dict[str, int]) -> None:
        deleted = self.storage.delete_all(list(sizes), older_than=self.older_than)
        size = sum(sizes[path] for path in deleted)
        self.done.deleted = self.done.deleted.plus(size, len(deleted))

    def _give_up(self, head: OpenHead) -> None:
        kept = self.mark(head.manifest, head.reflog)
        given_up = self.given_up(head.manifest, head.reflog, kept)
        self.note(kept, given_up)
        for reference in given_up:
            head.reflog.remove(reference)
        if given_up or not head.is_sound:
            self.marked = head.publish(head.manifest, self.now)
            for reference in references_of(self.marked):
                self.marks.add(reference.hash)

    def _mark_again(self, head: OpenHead) -> None:
        if head.manifest != self.marked:
            self.mark(head.manifest, head.reflog)


def _listed(
    storage: CollectableStorage,
) -> Iterator[tuple[str, Sequence[ListedObject]]]:
    """Yield the content of all folders, some of them listed in advance."""

    def listed(shard: str) -> Sequence[ListedObject]:
        return list(storage.list_objects(shard))

    with ThreadPoolExecutor(_LISTED_AHEAD, "listing") as executor:
        waiting: deque[tuple[str, Future[Sequence[ListedObject]]]] = deque()
        try:
            for shard in _SHARDS:
                waiting.append((shard, executor.submit(listed, shard)))
                if len(waiting) > _LISTED_AHEAD:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def _described(source: CollectableStorage, root: ContentHash) -> GivenUp:
    try:
        with closing(load_catalog(source, NestedCatalog(b"", root, 0))) as catalog:
            return GivenUp(root, catalog.revision, catalog.last_modified)
    except StorageFailed:
        raise
    except FormatError:
        return GivenUp(root)


def _parsed(shard: str, name: str) -> tuple[ContentHash, Kind] | None:
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    digits, algorithm, suffix = match.groups()
    if algorithm:
        return ContentHash.parse(shard + digits + algorithm), _KINDS[suffix]
    return ContentHash(bytes.fromhex(shard + digits)), _KINDS[suffix]
