"""The CernVM-FS repository format, written and read without any other tool.

Knows nothing of images, registries, Redis or Flask, and imports nothing of ours.

To read on, in this order: ``values/dirent.py`` (one entry), ``storage/storage.py``
(where bytes lie), ``snapshot.py`` (reading), ``commit/committer.py`` (writing: the
whole story of a commit).
"""

from workers.cvmfs.catalog.prepare import PreparedTree
from workers.cvmfs.catalog.reader import Catalog, NestedCatalog
from workers.cvmfs.catalog.tree_reader import StreamedTree
from workers.cvmfs.commit.batch import Batch
from workers.cvmfs.commit.changes import (
    Change,
    EditRecords,
    GraftTree,
    PutFile,
    PutLink,
    RemovePath,
    RequirePath,
)
from workers.cvmfs.commit.committer import Committed, Revision
from workers.cvmfs.commit.transaction import MountpointPolicy
from workers.cvmfs.errors import (
    ContentCollected,
    Damaged,
    FormatError,
    HeadUnreadable,
    HeadWentBack,
    InvalidChange,
    InvalidKeys,
    InvalidPath,
    InvalidTree,
    Malformed,
    NotFound,
    NotTrusted,
    RepositoryBusy,
    RepositoryExists,
    StorageFailed,
    WhitelistExpired,
)
from workers.cvmfs.garbage.collect import collect_garbage
from workers.cvmfs.garbage.progress import Collection, GivenUp, Pile, Stage
from workers.cvmfs.garbage.retention import Retention
from workers.cvmfs.objects.content_sink import ContentStore
from workers.cvmfs.repository import Repository
from workers.cvmfs.revisions.auto_tags import AutoTags
from workers.cvmfs.revisions.history import Tag
from workers.cvmfs.signing.keys import KeyRing, parse_public_key
from workers.cvmfs.signing.manifest import RepositoryManifest
from workers.cvmfs.signing.trust import load_head
from workers.cvmfs.signing.whitelist import Whitelist
from workers.cvmfs.snapshot import Snapshot
from workers.cvmfs.storage.bucket import BucketAccess
from workers.cvmfs.storage.local import LocalStorage
from workers.cvmfs.storage.s3 import S3Storage
from workers.cvmfs.storage.storage import CollectableStorage, ObjectSource, Storage
from workers.cvmfs.tagging import add_tag, remove_tag, roll_back
from workers.cvmfs.values.dirent import STORED, ZLIB, Chunk, Content, Dirent
from workers.cvmfs.values.hash import ContentHash, Kind, path_key
from workers.cvmfs.values.trees import Directories, Directory, Tree

__all__ = [
    "STORED",
    "ZLIB",
    "AutoTags",
    "Batch",
    "BucketAccess",
    "Catalog",
    "Change",
    "Chunk",
    "CollectableStorage",
    "Collection",
    "Committed",
    "Content",
    "ContentCollected",
    "ContentHash",
    "ContentStore",
    "Damaged",
    "Directories",
    "Directory",
    "Dirent",
    "EditRecords",
    "FormatError",
    "GivenUp",
    "GraftTree",
    "HeadUnreadable",
    "HeadWentBack",
    "InvalidChange",
    "InvalidKeys",
    "InvalidPath",
    "InvalidTree",
    "KeyRing",
    "Kind",
    "LocalStorage",
    "Malformed",
    "MountpointPolicy",
    "NestedCatalog",
    "NotFound",
    "NotTrusted",
    "ObjectSource",
    "Pile",
    "PreparedTree",
    "PutFile",
    "PutLink",
    "RemovePath",
    "Repository",
    "RepositoryBusy",
    "RepositoryExists",
    "RepositoryManifest",
    "RequirePath",
    "Retention",
    "Revision",
    "S3Storage",
    "Snapshot",
    "Stage",
    "Storage",
    "StorageFailed",
    "StreamedTree",
    "Tag",
    "Tree",
    "Whitelist",
    "WhitelistExpired",
    "add_tag",
    "collect_garbage",
    "load_head",
    "parse_public_key",
    "path_key",
    "remove_tag",
    "roll_back",
]
