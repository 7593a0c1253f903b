"""The CernVM-FS repository format, written and read without any other tool.

Knows nothing of images, registries, Redis or Flask, and imports nothing of ours.

To read on, in this order: ``dirent.py`` (the values), ``storage.py`` (where bytes lie),
``snapshot.py`` (reading), ``commit.py`` (writing: the whole story of a commit).
"""

from workers.cvmfs.auto_tags import AutoTags
from workers.cvmfs.batch import Batch
from workers.cvmfs.bucket import BucketAccess
from workers.cvmfs.catalog import Catalog, NestedCatalog
from workers.cvmfs.changes import (
    Change,
    EditRecords,
    GraftTree,
    PutFile,
    PutLink,
    RemovePath,
    RequirePath,
)
from workers.cvmfs.collection import Collection, GivenUp, Pile, Stage
from workers.cvmfs.commit import Committed, Revision
from workers.cvmfs.dirent import STORED, ZLIB, Chunk, Content, Dirent
from workers.cvmfs.errors import (
    ContentCollected,
    Damaged,
    FormatError,
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
from workers.cvmfs.garbage import collect_garbage
from workers.cvmfs.hash import ContentHash, Kind, path_key
from workers.cvmfs.history import Tag
from workers.cvmfs.keys import KeyRing, parse_public_key
from workers.cvmfs.local_storage import LocalStorage
from workers.cvmfs.manifest import RepositoryManifest
from workers.cvmfs.prepare import PreparedTree
from workers.cvmfs.repository import Repository
from workers.cvmfs.retention import Retention
from workers.cvmfs.s3_storage import S3Storage
from workers.cvmfs.sink import ContentSink
from workers.cvmfs.snapshot import Snapshot
from workers.cvmfs.storage import CollectableStorage, ObjectSource, Storage
from workers.cvmfs.transaction import MountpointPolicy
from workers.cvmfs.tree import Directories, Directory, Tree
from workers.cvmfs.tree_reader import StreamedTree
from workers.cvmfs.trust import load_head
from workers.cvmfs.upkeep import add_tag, remove_tag, roll_back
from workers.cvmfs.whitelist import Whitelist

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
    "ContentSink",
    "Damaged",
    "Directories",
    "Directory",
    "Dirent",
    "EditRecords",
    "FormatError",
    "GivenUp",
    "GraftTree",
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
