"""The first revision of a repository: empty, signed, and complete.

Source: cvmfs-format.md section 1.
"""

import stat
from collections.abc import Sequence
from contextlib import closing

from workers.cvmfs.catalog.editor import CatalogEditor
from workers.cvmfs.catalog.prepare import draft_catalog
from workers.cvmfs.catalog.reader import Catalog
from workers.cvmfs.commit.head import publish_head
from workers.cvmfs.errors import InvalidKeys
from workers.cvmfs.objects.objects import put_object
from workers.cvmfs.revisions.history import History
from workers.cvmfs.revisions.metainfo import empty_metainfo
from workers.cvmfs.revisions.reflog import Reflog
from workers.cvmfs.signing.keys import KeyRing
from workers.cvmfs.signing.manifest import RepositoryManifest
from workers.cvmfs.signing.whitelist import fingerprint, write_whitelist
from workers.cvmfs.storage.storage import MASTER_REPLICA, WHITELIST, Storage
from workers.cvmfs.values.dirent import Dirent
from workers.cvmfs.values.hash import ContentHash, Kind
from workers.cvmfs.values.trees import Tree

_FIRST_REVISION = 1
_REPLICA_TEXT = b"This file marks the repository as replicable to stratum 1 servers\n"
"""The file's presence counts; an empty one could not be stored everywhere."""


def write_first_revision(
    storage: Storage, keys: KeyRing, *, now: int, ttl: int, level: int
) -> None:
    """Write everything a new repository consists of; to be called under the lock.

    Raises:
        InvalidKeys: the master key is not at hand.
    """

    def put(content: bytes, kind: Kind) -> ContentHash:
        return put_object(storage, content, kind, level)[0]

    put(b"", Kind.BULK)
    draft = draft_catalog(b"", Tree(Dirent(stat.S_IFDIR | 0o755, mtime=now)))
    with closing(CatalogEditor(Catalog(draft.data, b""), None)) as editor:
        data = editor.finish(now, TTL=str(ttl))
    root = put(data, Kind.CATALOG)
    with closing(History(None, keys.fqrn)) as history:
        history.move_trunk(root, len(data), _FIRST_REVISION, now)
        first_history = put(history.finish(), Kind.HISTORY)
    manifest = RepositoryManifest(
        fqrn=keys.fqrn,
        root_catalog=root,
        root_catalog_size=len(data),
        revision=_FIRST_REVISION,
        timestamp=now,
        ttl=ttl,
        certificate=put(keys.certificate_pem, Kind.CERTIFICATE),
        history=first_history,
        metainfo=put(empty_metainfo(), Kind.METAINFO),
        is_garbage_collectable=True,
    )
    storage.replace(MASTER_REPLICA, _REPLICA_TEXT)
    sign_whitelist(storage, keys, (), now)
    with closing(Reflog(None, keys.fqrn)) as reflog:
        publish_head(storage, keys, manifest, reflog, now)


def sign_whitelist(
    storage: Storage, keys: KeyRing, known: Sequence[ContentHash], now: int
) -> None:
    """Write a new whitelist, of the known certificates and our own.

    Raises:
        InvalidKeys: the master key is not at hand.
    """
    if keys.master_key is None:
        raise InvalidKeys(f"the master key of {keys.fqrn} is not here")
    ours = fingerprint(keys.certificate)
    fingerprints = list(dict.fromkeys([*known, ours]))
    data = write_whitelist(keys.fqrn, fingerprints, keys.master_key, now=now)
    storage.replace(WHITELIST, data)
