"""The whole story of a commit.

Everything before its last line is invisible to readers; a crash before it leaves the
previous revision as it was, and things nobody points to.

The order of writes, each of them one call of ``Storage`` (cvmfs-format.md section 7.1):

1. contents, and the catalogs of prepared trees (any time before, without the lock);
2. the catalogs that change, deepest first, the root catalog last;
3. certificate and history;
4. one sync, which carries all of that to the disk;
5. the reflog, and
6. the manifest, each synced by itself. The manifest is the commit point.

Killed between 5 and 6, the reflog is ahead of the hash the manifest has of it. Readers
do not care, the stock tools do; the next commit makes it right, even if there is
nothing else for it to do.

One revision takes in the batches of any number of images. A batch that fails is left
out, and what the others make is then written from the beginning without it: that is
rare, and so nothing has ever to be taken back. A batch that is in force already, as the
writer before died before it could say so, changes nothing and is simply in force.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from workers.cvmfs.catalog.reader import NestedCatalog
from workers.cvmfs.commit.batch import Batch
from workers.cvmfs.commit.changes import GraftTree, PutFile
from workers.cvmfs.commit.head import load_history, publish_head
from workers.cvmfs.commit.required_objects import require_content, require_tree
from workers.cvmfs.commit.transaction import MountpointPolicy, Transaction
from workers.cvmfs.errors import ContentCollected, FormatError, StorageFailed
from workers.cvmfs.objects.objects import put_object
from workers.cvmfs.revisions.auto_tags import AutoTags
from workers.cvmfs.revisions.history import Tag
from workers.cvmfs.revisions.reflog_repair import load_reflog
from workers.cvmfs.signing.keys import KeyRing
from workers.cvmfs.signing.manifest import RepositoryManifest
from workers.cvmfs.signing.trust import load_head
from workers.cvmfs.storage.deletion_mark import deletion_mark
from workers.cvmfs.storage.storage import Storage
from workers.cvmfs.values.hash import ContentHash, Kind

Confirm = Callable[[Sequence[Batch]], Mapping[Batch, Exception]]
"""Says, right before the batches it is given become visible, which of them must not."""

CheckHead = Callable[[RepositoryManifest], None]
"""Raises HeadWentBack where nothing is to be built upon a head."""


@dataclass(frozen=True, slots=True)
class Revision:
    """A published revision.

    Attributes:
        number: higher than all before.
        root_catalog: hash of its root catalog.
        timestamp: when it was published, unix time.
        is_new: whether this commit made it; otherwise there was nothing to change.
    """

    number: int
    root_catalog: ContentHash
    timestamp: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of some batches.

    Attributes:
        revision: in which all are visible that were not left out.
        left_out: and why.
    """

    revision: Revision
    left_out: Mapping[Batch, Exception]


@dataclass(frozen=True, slots=True)
class Committer:
    """Writes revisions of one repository; for its arguments see ``Repository``."""

    storage: Storage
    fqrn: str
    keys: KeyRing
    ttl: int | None
    is_mountpoint: MountpointPolicy
    level: int
    auto_tags: AutoTags | None = None

    def commit(
        self,
        batches: Sequence[Batch],
        *,
        now: int,
        confirm: Confirm,
        check_head: CheckHead = lambda _: None,
    ) -> Committed:
        """Make batches visible in one revision; to be called under the lock.

        If they change nothing, nothing is written and nobody asked.

        Args:
            batches: each whole, or left out.
            now: unix time. Where the repository is younger than that (a clock that was
                turned back), its own time is kept.
            confirm: what it raises leaves all as it was.
            check_head: is asked of the head before anything is built upon it.

        Raises:
            WhitelistExpired: it has to be renewed first.
            HeadWentBack: as ``check_head`` says.
            FormatError: whatever is wrong with more than one batch; nothing has changed
                then.
        """
        storage = self.storage
        head, whitelist = load_head(storage, self.fqrn, self.keys.public_key)
        check_head(head)
        whitelist.check(self.fqrn, self.keys.certificate)
        whitelist.check_date(now)
        left_out: dict[Batch, Exception] = dict(self._collected(batches))
        reflog, is_sound = load_reflog(storage, head, now)
        with closing(reflog):
            while True:
                going = [batch for batch in batches if batch not in left_out]
                refused, new = self._written(going, head, now)
                if not refused:
                    if new is head and is_sound:
                        return Committed(_revision(head, is_new=False), left_out)
                    refused = confirm(going)
                if not refused.keys() - left_out.keys():
                    break
                left_out.update(refused)
            published = publish_head(storage, self.keys, new, reflog, now)
        return Committed(_revision(published, is_new=new is not head), left_out)

    def _collected(self, batches: Sequence[Batch]) -> Mapping[Batch, ContentCollected]:
        """Look up what was prepared before a garbage collection."""
        mark = deletion_mark(self.storage)
        collected = {}
        for batch in batches:
            try:
                self._require(batch, mark)
            except ContentCollected as error:
                collected[batch] = error
        return collected

    def _require(self, batch: Batch, mark: bytes | None) -> None:
        for change in batch.changes:
            if isinstance(change, GraftTree):
                tree = change.prepared
                if mark is None or mark != tree.complete_at:
                    top = NestedCatalog(tree.path, tree.hash, tree.size)
                    require_tree(self.storage, top)
            elif isinstance(change, PutFile) and (
                mark is None or mark != batch.complete_at
            ):
                require_content(self.storage, change.content)

    def _written(
        self, batches: Sequence[Batch], head: RepositoryManifest, now: int
    ) -> tuple[Mapping[Batch, Exception], RepositoryManifest]:
        """Store the objects of a revision that has all batches.

        Returns:
            A batch that cannot be in it, if there is one, and why. If there is none,
            what the manifest of the revision will say; the head itself if nothing
            changes.
        """
        root = NestedCatalog(b"", head.root_catalog, head.root_catalog_size)
        transaction = Transaction(
            self.storage,
            root,
            now=now,
            is_mountpoint=self.is_mountpoint,
            level=self.level,
        )
        with closing(transaction):
            transaction.open_ahead(
                [change for batch in batches for change in batch.changes]
            )
            for batch in batches:
                try:
                    for change in batch.changes:
                        transaction.apply(change)
                except StorageFailed:
                    raise
                except FormatError as error:
                    return {batch: error}, head
            if not transaction.is_changed:
                return {}, head
            return {}, self._stored(transaction, head, now)

    def _stored(
        self, transaction: Transaction, head: RepositoryManifest, now: int
    ) -> RepositoryManifest:
        ttl = transaction.ttl if self.ttl is None else self.ttl
        # Clients take no revision whose number is not higher than theirs (trap 18).
        revision = max(head.revision, transaction.revision) + 1
        root = transaction.write(TTL=str(ttl), revision=str(revision))
        with closing(load_history(self.storage, head)) as history:
            history.move_trunk(root.hash, root.size, revision, now)
            if self.auto_tags is not None:
                made = Tag("", root.hash, root.size, revision, now)
                self.auto_tags.maintain(history, made)
            new_history = self._put(history.finish(), Kind.HISTORY)
        return replace(
            head,
            root_catalog=root.hash,
            root_catalog_size=root.size,
            revision=revision,
            ttl=ttl,
            certificate=self._put(self.keys.certificate_pem, Kind.CERTIFICATE),
            history=new_history,
        )

    def _put(self, content: bytes, kind: Kind) -> ContentHash:
        return put_object(self.storage, content, kind, self.level)[0]


def _revision(head: RepositoryManifest, *, is_new: bool) -> Revision:
    return Revision(head.revision, head.root_catalog, head.timestamp, is_new)
