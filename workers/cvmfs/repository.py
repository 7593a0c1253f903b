"""A repository and the keys to it: everything that one can do with it.

``commit/creation.py`` makes one; ``commit/committer.py`` tells the story of a commit.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from workers.cvmfs.catalog.cutting import DEFAULT_CUT, CutSize
from workers.cvmfs.catalog.prepare import PreparedTree, draft_tree
from workers.cvmfs.catalog.reader import NestedCatalog, load_catalog
from workers.cvmfs.catalog.schema import DEFAULT_TTL_SECONDS
from workers.cvmfs.catalog.tree_reader import StreamedTree, stream_tree
from workers.cvmfs.commit.batch import Batch
from workers.cvmfs.commit.changes import Change, check_target
from workers.cvmfs.commit.committer import (
    CheckHead,
    Committed,
    Committer,
    Confirm,
    Revision,
)
from workers.cvmfs.commit.creation import sign_whitelist, write_first_revision
from workers.cvmfs.commit.head import load_history
from workers.cvmfs.commit.required_objects import require_tree
from workers.cvmfs.commit.transaction import MountpointPolicy
from workers.cvmfs.errors import ContentCollected, InvalidKeys, RepositoryExists
from workers.cvmfs.objects.content_sink import ContentStore
from workers.cvmfs.objects.objects import DEFAULT_LEVEL, put_object
from workers.cvmfs.revisions.auto_tags import AutoTags
from workers.cvmfs.revisions.history import Tag
from workers.cvmfs.signing.keys import KeyRing
from workers.cvmfs.signing.manifest import RepositoryManifest
from workers.cvmfs.signing.trust import load_head
from workers.cvmfs.signing.whitelist import Whitelist
from workers.cvmfs.snapshot import Snapshot
from workers.cvmfs.storage.deletion_mark import deletion_mark
from workers.cvmfs.storage.storage import MANIFEST, Storage
from workers.cvmfs.values.fqrn import check_fqrn
from workers.cvmfs.values.hash import ContentHash, Kind
from workers.cvmfs.values.trees import Tree


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
        level: of compression, see ``ContentStore``.
        auto_tags: which commits set tags by themselves; ``None``: none.

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
        auto_tags: AutoTags | None = None,
    ) -> None:
        check_fqrn(fqrn)
        if keys.fqrn != fqrn:
            raise InvalidKeys(f"keys of {keys.fqrn} for the repository {fqrn}")
        self.fqrn = fqrn
        self.sink = ContentStore(storage, level=level)
        self._storage = storage
        self._keys = keys
        self._level = level
        self._committer = Committer(
            storage, fqrn, keys, ttl, is_mountpoint, level, auto_tags
        )
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
            write_first_revision(storage, keys, now=now, ttl=ttl, level=level)
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
        auto_tags: AutoTags | None = None,
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
            auto_tags=auto_tags,
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

    def read_prepared(self, prepared: PreparedTree) -> StreamedTree:
        """Read a prepared tree back from what was stored, proven, bit by bit.

        Raises:
            Damaged: (here and while it is read) something in the storage is not what
                it was.
        """
        top = NestedCatalog(prepared.path, prepared.hash, prepared.size)
        load = partial(load_catalog, self._storage)
        return stream_tree(load(top), load)

    def tags(self) -> list[Tag]:
        """Return the named revisions, newest first."""
        head = self.head()
        if head.history is None:
            return []
        with closing(load_history(self._storage, head)) as history:
            return history.tags()

    def prepare(
        self, path: bytes, tree: Tree, size: CutSize = DEFAULT_CUT
    ) -> PreparedTree:
        """Write the catalogs of a tree for the path where it shall be mounted.

        Takes no lock and changes nothing visible. The contents of the tree's files must
        be in the storage already.

        Args:
            path: see above.
            tree: see above.
            size: of the catalogs; above it there are several.

        Raises:
            InvalidTree: the tree contradicts itself.
            InvalidChange: not a path for a tree.
            ContentCollected: garbage collection took some of the contents.
        """
        check_target(path)
        complete_at = deletion_mark(self._storage)

        def store(data: bytes) -> ContentHash:
            content_hash, _ = put_object(self._storage, data, Kind.CATALOG, self._level)
            return content_hash

        draft = draft_tree(path, tree, store, size)
        # The marker file in each nested catalog names the empty object.
        self.sink.put_bytes(b"")
        if complete_at is not None and complete_at != self._opened_at:
            with self._forgetting():
                require_tree(self._storage, draft.catalog)
        return PreparedTree(
            path=path,
            hash=draft.catalog.hash,
            size=draft.catalog.size,
            root=tree.root,
            link_count=draft.link_count,
            counters=draft.counters,
            losses=draft.losses,
            complete_at=complete_at,
        )

    def batch(self, changes: Sequence[Change]) -> Batch:
        """Return changes, of files put through this object, for any process to commit.

        Where the storage writes in the background, they are not all there before its
        ``sync``.
        """
        return Batch(tuple(changes), self._opened_at)

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
            now: unix time; see ``Committer.commit``.
            check: called under the lock right before anything becomes visible; what it
                raises leaves all as it was.

        Raises:
            RepositoryBusy: somebody else is committing.
            WhitelistExpired: ``renew_whitelist`` first.
            InvalidChange: a change cannot be made at its path.
            ContentCollected: garbage collection took what a change needs.
            FormatError: whatever else is wrong; nothing has changed then.
        """
        batch = self.batch(changes)

        def confirm(_: Sequence[Batch]) -> Mapping[Batch, Exception]:
            check()
            return {}

        with self._storage.lock():
            committed = self.commit_batches([batch], now=now, confirm=confirm)
        if batch in committed.left_out:
            raise committed.left_out[batch]
        return committed.revision

    def commit_batches(
        self,
        batches: Sequence[Batch],
        *,
        now: int,
        confirm: Confirm,
        check_head: CheckHead = lambda _: None,
    ) -> Committed:
        """Make batches visible, each whole or not at all; see ``Committer.commit``.

        To be called while the storage's lock is held.
        """
        committed = self._committer.commit(
            batches, now=now, confirm=confirm, check_head=check_head
        )
        if any(isinstance(e, ContentCollected) for e in committed.left_out.values()):
            self.sink.forget()
        return committed

    def renew_whitelist(
        self, *, now: int, unless_valid_until: float | None = None
    ) -> Whitelist:
        """Sign a new whitelist for the certificates of the old one and our own.

        Args:
            now: unix time.
            unless_valid_until: what holds so long has been renewed by another already;
                None: it is renewed in any case.

        Raises:
            InvalidKeys: the master key is not at hand.
        """
        with self._storage.lock():
            known = self.whitelist()
            if unless_valid_until is None or known.ends < unless_valid_until:
                sign_whitelist(self._storage, self._keys, known.fingerprints, now)
        return self.whitelist()

    def _verified_head(self) -> tuple[RepositoryManifest, Whitelist]:
        return load_head(self._storage, self.fqrn, self._keys.public_key)

    @contextmanager
    def _forgetting(self) -> Iterator[None]:
        """Where content is gone, let the sink store it again when it is put again."""
        try:
            yield
        except ContentCollected:
            self.sink.forget()
            raise
