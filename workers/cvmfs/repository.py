"""A repository that we write: how it is made, and the whole story of a commit.

Read ``commit`` first. Everything before its last line is invisible to readers; a crash
before it leaves the previous revision as it was, and things nobody points to.

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
"""

import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from workers.cvmfs.catalog import Catalog, NestedCatalog, load_catalog
from workers.cvmfs.changes import Change, GraftTree, PutFile, check_target
from workers.cvmfs.deletion import deletion_mark
from workers.cvmfs.dirent import Dirent, Tree
from workers.cvmfs.editor import CatalogEditor
from workers.cvmfs.errors import ContentCollected, InvalidKeys, RepositoryExists
from workers.cvmfs.fqrn import check_fqrn
from workers.cvmfs.hash import ContentHash, Kind
from workers.cvmfs.history import History, Tag
from workers.cvmfs.keys import KeyRing
from workers.cvmfs.manifest import RepositoryManifest
from workers.cvmfs.metainfo import empty_metainfo
from workers.cvmfs.naming import require_content, require_tree
from workers.cvmfs.objects import DEFAULT_LEVEL, put_object
from workers.cvmfs.prepare import PreparedTree, draft_catalog
from workers.cvmfs.publishing import load_history, publish_head
from workers.cvmfs.reflog import Reflog
from workers.cvmfs.reflog_repair import load_reflog
from workers.cvmfs.schema import DEFAULT_TTL_SECONDS
from workers.cvmfs.sink import ContentSink
from workers.cvmfs.snapshot import Snapshot
from workers.cvmfs.storage import (
    MANIFEST,
    MASTER_REPLICA,
    WHITELIST,
    Storage,
)
from workers.cvmfs.transaction import MountpointPolicy, Transaction
from workers.cvmfs.tree_reader import read_tree
from workers.cvmfs.trust import load_head
from workers.cvmfs.whitelist import Whitelist, fingerprint, write_whitelist

_FIRST_REVISION = 1
_REPLICA_TEXT = b"This file marks the repository as replicable to stratum 1 servers\n"
"""The file's presence counts; an empty one could not be stored everywhere."""


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


def _no_mountpoints(_path: bytes) -> bool:
    return False


class Repository:
    """A repository and the keys to it.

    Args:
        fqrn: its name.
        storage: where it lies.
        keys: which sign it.
        ttl: seconds between two looks of a client, set at each commit; ``None`` keeps
            what the repository has.
        is_mountpoint: says of a directory that a commit has to make whether it gets a
            catalog of its own.
        level: of compression, see ``ContentSink``.

    Attributes:
        sink: where the content of files goes.
    """

    def __init__(
        self,
        fqrn: str,
        storage: Storage,
        keys: KeyRing,
        *,
        ttl: int | None = None,
        is_mountpoint: MountpointPolicy = _no_mountpoints,
        level: int = DEFAULT_LEVEL,
    ) -> None:
        check_fqrn(fqrn)
        if keys.fqrn != fqrn:
            raise InvalidKeys(f"keys of {keys.fqrn} for the repository {fqrn}")
        self.fqrn = fqrn
        self.sink = ContentSink(storage, level=level)
        self._storage = storage
        self._keys = keys
        self._ttl = ttl
        self._is_mountpoint = is_mountpoint
        self._level = level
        # What is put or read through this object from now on is there, for as long as
        # nothing is deleted.
        self._opened_at = deletion_mark(storage)

    @property
    def storage(self) -> Storage:
        """Where it lies."""
        return self._storage

    @property
    def keys(self) -> KeyRing:
        """What signs it."""
        return self._keys

    @classmethod
    def create(
        cls,
        fqrn: str,
        storage: Storage,
        keys: KeyRing,
        *,
        now: int,
        ttl: int = DEFAULT_TTL_SECONDS,
        is_mountpoint: MountpointPolicy = _no_mountpoints,
        level: int = DEFAULT_LEVEL,
    ) -> "Repository":
        """Make a new, empty repository.

        One that was begun and not finished, for whatever reason, is begun anew.

        Raises:
            RepositoryExists: there is one.
            InvalidKeys: the master key is not at hand.
        """
        repository = cls(
            fqrn,
            storage,
            keys,
            ttl=ttl,
            is_mountpoint=is_mountpoint,
            level=level,
        )
        storage.prepare()
        with storage.lock():
            if storage.exists(MANIFEST):
                raise RepositoryExists(f"{storage!r} holds a repository already")
            repository._write_first_revision(now, ttl)
        return repository

    @classmethod
    def open(
        cls,
        fqrn: str,
        storage: Storage,
        keys_dir: Path,
        *,
        ttl: int | None = None,
        is_mountpoint: MountpointPolicy = _no_mountpoints,
        level: int = DEFAULT_LEVEL,
    ) -> "Repository":
        """Open a repository that is there.

        Raises:
            NotFound: there is none.
            NotTrusted: it is not signed with these keys.
            InvalidKeys: the set of keys is incomplete.
        """
        repository = cls(
            fqrn,
            storage,
            KeyRing.load(fqrn, keys_dir),
            ttl=ttl,
            is_mountpoint=is_mountpoint,
            level=level,
        )
        repository.head()
        return repository

    def head(self) -> RepositoryManifest:
        """Return the manifest, verified.

        Raises:
            NotFound: there is no repository.
            NotTrusted: it does not hold; see ``trust``.
        """
        return self._verified_head()[0]

    def whitelist(self) -> Whitelist:
        """Return the whitelist, verified but for its date."""
        return self._verified_head()[1]

    def read(self) -> Snapshot:
        """Return a reader of the current revision."""
        head = self.head()
        return self.read_revision(head.root_catalog, head.root_catalog_size)

    def read_revision(self, root_catalog: ContentHash, size: int = 0) -> Snapshot:
        """Return a reader of any revision, by the hash of its root catalog."""
        return Snapshot(self._storage, root_catalog, size)

    def read_prepared(self, prepared: PreparedTree) -> Tree:
        """Read a prepared tree back from what was stored, proven.

        Raises:
            Damaged: something in the storage is not what it was.
        """

        def load(reference: NestedCatalog) -> Catalog:
            return load_catalog(self._storage, reference)

        top = NestedCatalog(prepared.path, prepared.hash, prepared.size)
        return read_tree(load(top), load)

    def tags(self) -> list[Tag]:
        """Return the named revisions, newest first."""
        head = self.head()
        if head.history is None:
            return []
        with closing(load_history(self._storage, head)) as history:
            return history.tags()

    def prepare(self, path: bytes, tree: Tree) -> PreparedTree:
        """Write the catalog of a tree for the path where it shall be mounted.

        Takes no lock and changes nothing visible. The contents of the tree's files must
        be in the storage already.

        Raises:
            InvalidTree: the tree contradicts itself.
            InvalidChange: not a path for a tree.
            ContentCollected: garbage collection took some of the contents.
        """
        check_target(path)
        complete_at = deletion_mark(self._storage)
        draft = draft_catalog(path, tree)
        content_hash, is_new = put_object(
            self._storage, draft.data, Kind.CATALOG, self._level
        )
        # The marker file in each nested catalog names the empty object.
        self.sink.put_bytes(b"")
        if complete_at is not None and complete_at != self._opened_at:
            top = NestedCatalog(path, content_hash, len(draft.data))
            with self._forgetting():
                require_tree(self._storage, top)
        return PreparedTree(
            path=path,
            hash=content_hash,
            size=len(draft.data),
            root=tree.root,
            link_count=draft.link_count,
            counters=draft.statistics.total,
            losses=draft.losses,
            objects_written=int(is_new),
            objects_known=int(not is_new),
            complete_at=complete_at,
        )

    def commit(
        self,
        changes: Sequence[Change],
        *,
        now: int,
        check: Callable[[], None] = lambda: None,
    ) -> Revision:
        """Make changes visible: all of them, in one new revision, or none.

        Changes are made in their order. If they change nothing, nothing is written.

        Args:
            changes: of as many images as there are.
            now: unix time. Where the repository is younger than that (a clock that was
                turned back), its own time is kept.
            check: called under the lock right before anything becomes visible; what it
                raises leaves all as it was.

        Raises:
            RepositoryBusy: somebody else is committing.
            WhitelistExpired: ``renew_whitelist`` first.
            InvalidChange: a change cannot be made at its path.
            ContentCollected: garbage collection took what a change needs.
            FormatError: whatever else is wrong; nothing has changed then.
        """
        with self._storage.lock():
            head, whitelist = self._verified_head()
            whitelist.check(self.fqrn, self._keys.certificate)
            whitelist.check_date(now)
            self._require_contents(changes)
            reflog, is_sound = load_reflog(self._storage, head, now)
            with closing(reflog), closing(self._begin(head, now)) as transaction:
                for change in changes:
                    transaction.apply(change)
                if transaction.is_changed:
                    new = self._store(transaction, head, now)
                elif is_sound:
                    return _revision(head, is_new=False)
                else:
                    new = head
                check()
                published = self._publish(new, reflog, now)
            return _revision(published, is_new=new is not head)

    def renew_whitelist(self, *, now: int) -> Whitelist:
        """Sign a new whitelist for the certificates of the old one and our own.

        Raises:
            InvalidKeys: the master key is not at hand.
        """
        with self._storage.lock():
            known = self.whitelist().fingerprints
            self._write_whitelist(known, now)
        return self.whitelist()

    def _verified_head(self) -> tuple[RepositoryManifest, Whitelist]:
        return load_head(self._storage, self.fqrn, self._keys.public_key)

    def _require_contents(self, changes: Sequence[Change]) -> None:
        """Look up, under the lock, what was prepared before a garbage collection."""
        mark = deletion_mark(self._storage)
        with self._forgetting():
            for change in changes:
                if isinstance(change, GraftTree):
                    tree = change.prepared
                    if mark is None or mark != tree.complete_at:
                        top = NestedCatalog(tree.path, tree.hash, tree.size)
                        require_tree(self._storage, top)
                elif isinstance(change, PutFile) and (
                    mark is None or mark != self._opened_at
                ):
                    require_content(self._storage, change.content)

    @contextmanager
    def _forgetting(self) -> Iterator[None]:
        """Where content is gone, let the sink store it again when it is put again."""
        try:
            yield
        except ContentCollected:
            self.sink.forget()
            raise

    def _begin(self, head: RepositoryManifest, now: int) -> Transaction:
        return Transaction(
            self._storage,
            NestedCatalog(b"", head.root_catalog, head.root_catalog_size),
            now=now,
            is_mountpoint=self._is_mountpoint,
            level=self._level,
        )

    def _store(
        self, transaction: Transaction, head: RepositoryManifest, now: int
    ) -> RepositoryManifest:
        """Store the objects of a new revision; return what its manifest will say."""
        ttl = transaction.ttl if self._ttl is None else self._ttl
        # Clients take no revision whose number is not higher than theirs (trap 18).
        revision = max(head.revision, transaction.revision) + 1
        root = transaction.write(TTL=str(ttl), revision=str(revision))
        return replace(
            head,
            root_catalog=root.hash,
            root_catalog_size=root.size,
            revision=revision,
            ttl=ttl,
            certificate=self._put(self._keys.certificate_pem, Kind.CERTIFICATE),
            history=self._store_history(head, root, revision, now),
        )

    def _store_history(
        self,
        head: RepositoryManifest | None,
        root: NestedCatalog,
        revision: int,
        now: int,
    ) -> ContentHash:
        old = (
            History(None, self.fqrn)
            if head is None
            else load_history(self._storage, head)
        )
        with closing(old) as history:
            history.move_trunk(root.hash, root.size, revision, now)
            return self._put(history.finish(), Kind.HISTORY)

    def _publish(
        self, manifest: RepositoryManifest, reflog: Reflog, now: int
    ) -> RepositoryManifest:
        return publish_head(self._storage, self._keys, manifest, reflog, now)

    def _write_first_revision(self, now: int, ttl: int) -> None:
        self.sink.put_bytes(b"")
        root = Dirent(stat.S_IFDIR | 0o755, mtime=now)
        draft = draft_catalog(b"", Tree(root))
        with closing(CatalogEditor(Catalog(draft.data, b""), None)) as editor:
            data = editor.finish(now, TTL=str(ttl))
        catalog = NestedCatalog(b"", self._put(data, Kind.CATALOG), len(data))
        manifest = RepositoryManifest(
            fqrn=self.fqrn,
            root_catalog=catalog.hash,
            root_catalog_size=catalog.size,
            revision=_FIRST_REVISION,
            timestamp=now,
            ttl=ttl,
            certificate=self._put(self._keys.certificate_pem, Kind.CERTIFICATE),
            history=self._store_history(None, catalog, _FIRST_REVISION, now),
            metainfo=self._put(empty_metainfo(), Kind.METAINFO),
            is_garbage_collectable=True,
        )
        self._storage.replace(MASTER_REPLICA, _REPLICA_TEXT)
        self._write_whitelist((), now)
        with closing(Reflog(None, self.fqrn)) as reflog:
            self._publish(manifest, reflog, now)

    def _write_whitelist(self, known: Sequence[ContentHash], now: int) -> None:
        if self._keys.master_key is None:
            raise InvalidKeys(f"the master key of {self.fqrn} is not here")
        ours = fingerprint(self._keys.certificate)
        fingerprints = list(dict.fromkeys([*known, ours]))
        data = write_whitelist(self.fqrn, fingerprints, self._keys.master_key, now=now)
        self._storage.replace(WHITELIST, data)

    def _put(self, content: bytes, kind: Kind) -> ContentHash:
        return put_object(self._storage, content, kind, self._level)[0]


def _revision(head: RepositoryManifest, *, is_new: bool) -> Revision:
    return Revision(head.revision, head.root_catalog, head.timestamp, is_new)
