"""Garbage collection: mark what revisions name, sweep everything else.

Unlike the stock tools, which start from the revisions they give up, the sweep goes over
a listing of the storage, so what aborted publishes left behind is found as well.

The story, ``collect_garbage``:

1. mark, without the lock: everything that the kept revisions (``retention.py``) name;
2. list the storage: what is not marked and older than the grace time is garbage;
3. take the lock, mark what has been published since, take the revisions that are given
   up off the reflog, sign the manifest again (its ``Y`` is new, its ``S`` is not);
4. delete, some thousand objects at a time; the lock is free in between, and each time
   what has been published since is marked first.

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
- *Grace, by the time of the last put.* To put what is there makes it young again.
- *Marked again under the lock.* A commit between two batches puts what it names beyond
  the reach of the next one.

**Why nothing is lost.** If any catalog of a revision that is kept cannot be read, or is
not what its hash says, the whole collection ends before it deletes. A revision that is
given up leaves the reflog, on disk, before the first of its objects goes; tags,
rollback and later collections only ever follow what the reflog lists. So killed
anywhere, what is left of it is garbage that the next collection finds.

Source: cvmfs/garbage_collection; cvmfs-format.md section 7.3.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import NamedTuple

from workers.cvmfs.catalog import NestedCatalog
from workers.cvmfs.database import translated
from workers.cvmfs.deletion import deleting, deletion_mark
from workers.cvmfs.errors import InvalidChange, StorageFailed
from workers.cvmfs.hash import ContentHash, Kind
from workers.cvmfs.keys import KeyRing
from workers.cvmfs.manifest import RepositoryManifest
from workers.cvmfs.marking import Marks
from workers.cvmfs.objects import EMPTY_HASH
from workers.cvmfs.publishing import OpenHead, open_head
from workers.cvmfs.reflog import Reference, ReferenceType, Reflog
from workers.cvmfs.reflog_repair import load_reflog, references_of
from workers.cvmfs.retention import Kept, Retention, kept_roots
from workers.cvmfs.storage import CollectableStorage
from workers.cvmfs.trust import load_head

_BATCH = 1_000
"""Deleting so many holds the lock for half a second on a slow, busy disk."""
_SHARDS = tuple(f"{number:02x}" for number in range(256))
_NAME = re.compile(r"([0-9a-f]{38})(|-rmd160|-shake128)([CHPXM]?)")
_KINDS = {kind.value: kind for kind in Kind}
_KIND_NAMES = {
    Kind.BULK: "files",
    Kind.PARTIAL: "chunks",
    Kind.CATALOG: "catalogs",
    Kind.HISTORY: "histories",
    Kind.CERTIFICATE: "certificates",
    Kind.METAINFO: "descriptions",
}

EXPIRED, LEAKED = "of revisions given up", "of no revision (aborted publishes)"


class Pile(NamedTuple):
    """So many objects, of so many stored bytes."""

    objects: int = 0
    bytes: int = 0

    def plus(self, size: int) -> "Pile":
        """Return it with one more object."""
        return Pile(self.objects + 1, self.bytes + size)


NOTHING = Pile()


@dataclass(slots=True)
class Collection:
    """What a collection found, and did.

    Attributes:
        revisions_kept: root catalogs whose revisions stay.
        revisions_given_up: root catalogs taken off the reflog.
        kept: objects that a kept revision names.
        young: objects that none names, but within their grace time.
        garbage: what is to be deleted, by what it is and why.
        deleted: what was deleted of that.
        foreign: files under ``data/`` that are no objects; left alone.
    """

    revisions_kept: int = 0
    revisions_given_up: tuple[ContentHash, ...] = ()
    kept: Pile = NOTHING
    young: Pile = NOTHING
    garbage: dict[tuple[str, str], Pile] = field(default_factory=dict)
    deleted: Pile = NOTHING
    foreign: int = 0


Tell = Callable[[Collection], None]


def collect_garbage(
    fqrn: str,
    storage: CollectableStorage,
    keys: KeyRing,
    *,
    now: int,
    retention: Retention = Retention(),  # noqa: B008 - frozen
    dry_run: bool = False,
    tell: Tell = lambda _: None,
) -> Collection:
    """Delete what no revision that is kept has a use for.

    Args:
        fqrn: the repository's name.
        storage: where it lies.
        keys: to sign the manifest with.
        now: unix time, by the clock of the storage.
        retention: what is kept.
        dry_run: whether to find garbage only, and take no lock.
        tell: is told how far it has come, with the plan before the first deletion.

    Raises:
        InvalidChange: the manifest forbids garbage collection (``G``).
        Damaged: a catalog that is kept cannot be read; nothing was deleted.
        RepositoryBusy: somebody holds the lock.
        FormatError: whatever else is wrong.
    """
    with ExitStack() as stack:
        marks = stack.enter_context(closing(Marks()))
        former = stack.enter_context(closing(Marks()))
        run = _Run(fqrn, storage, keys, now, retention, marks, former, tell)
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
        garbage = stack.enter_context(closing(_Garbage()))
        run.list_into(garbage)
        if not dry_run:
            run.delete(garbage)
        return run.done


@dataclass(slots=True)
class _Run:
    """One collection; see ``collect_garbage``."""

    fqrn: str
    storage: CollectableStorage
    keys: KeyRing
    now: int
    retention: Retention
    marks: Marks
    former: Marks
    tell: Tell
    done: Collection = field(default_factory=Collection)
    marked: RepositoryManifest | None = None

    @property
    def older_than(self) -> float:
        """Objects put since then are left alone."""
        return self.now - self.retention.grace_seconds

    def mark(self, head: RepositoryManifest, reflog: Reflog) -> Kept:
        """Mark everything that a head keeps.

        Raises:
            Damaged: something could not be read.
        """
        kept = kept_roots(self.storage, head, reflog, self.retention, self.now)
        for root in kept.roots.values():
            self.marks.walk(self.storage, root)
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

    def note(self, kept: Kept, given_up: set[Reference]) -> None:
        """Say what becomes of the revisions."""
        self.done.revisions_kept = len(kept.roots)
        self.done.revisions_given_up = tuple(
            reference.hash
            for reference in given_up
            if reference.type is ReferenceType.CATALOG
        )

    def given_up(
        self, head: RepositoryManifest, reflog: Reflog, kept: Kept
    ) -> set[Reference]:
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

    def list_into(self, garbage: "_Garbage") -> None:
        """Find all garbage, one folder at a time."""
        for shard in _SHARDS:
            marked = self.marks.of_shard(shard)
            former = self.former.of_shard(shard)
            kept = kept_bytes = 0
            for found in self.storage.list_objects(shard):
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
            self.done.kept = Pile(
                self.done.kept.objects + kept, self.done.kept.bytes + kept_bytes
            )
            self.tell(self.done)

    def delete(self, garbage: "_Garbage") -> None:
        """Give up revisions, then delete what was found and is still not named."""
        with open_head(self.storage, self.fqrn, self.keys, self.now) as head:
            self._give_up(head)
            if deletion_mark(self.storage) is None:
                # The last one was killed; we have the lock, so none is under way.
                with deleting(self.storage):
                    pass
        for batch in garbage.batches():
            with open_head(self.storage, self.fqrn, self.keys, self.now) as head:
                self._mark_again(head)
                with deleting(self.storage):
                    for content_hash, kind, size in batch:
                        self._delete(content_hash, kind, size)
            self.tell(self.done)

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

    def _delete(self, content_hash: ContentHash, kind: Kind, size: int) -> None:
        if not self.marks.contains(content_hash):
            path = content_hash.path(kind)
            if self.storage.delete(path, older_than=self.older_than):
                self.done.deleted = self.done.deleted.plus(size)


class _Garbage:
    """A list of objects in a temporary database, as there may be millions."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.executescript(
            "PRAGMA journal_mode=OFF; BEGIN;"
            " CREATE TABLE garbage (hash TEXT, kind TEXT, size INTEGER)"
        )

    def add(self, content_hash: ContentHash, kind: Kind, size: int) -> None:
        with translated("temporary database", StorageFailed):
            self._connection.execute(
                "INSERT INTO garbage VALUES (?, ?, ?)",
                (str(content_hash), kind.value, size),
            )

    def batches(self) -> Iterator[list[tuple[ContentHash, Kind, int]]]:
        """Yield all, catalogs first: a revision that lost any is known to be gone."""
        with translated("temporary database", StorageFailed):
            cursor = self._connection.execute(
                "SELECT hash, kind, size FROM garbage ORDER BY kind <> 'C', rowid"
            )
            while rows := cursor.fetchmany(_BATCH):
                yield [
                    (ContentHash.parse(text), Kind(suffix), size)
                    for text, suffix, size in rows
                ]

    def close(self) -> None:
        self._connection.close()


def _parsed(shard: str, name: str) -> tuple[ContentHash, Kind] | None:
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    digits, algorithm, suffix = match.groups()
    if algorithm:
        return ContentHash.parse(shard + digits + algorithm), _KINDS[suffix]
    return ContentHash(bytes.fromhex(shard + digits)), _KINDS[suffix]
