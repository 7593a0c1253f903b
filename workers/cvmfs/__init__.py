"""The CernVM-FS repository format, written and read without any other tool.

Knows nothing of images, registries, Redis or Flask, and imports nothing of ours.

To read on, in this order: ``dirent.py`` (the values), ``storage.py`` (where bytes lie),
``snapshot.py`` (reading), ``repository.py`` (writing: the whole story of a commit).
"""

from workers.cvmfs.catalog import Catalog, NestedCatalog
from workers.cvmfs.dirent import STORED, ZLIB, Chunk, Content, Directory, Dirent, Tree
from workers.cvmfs.errors import (
    Damaged,
    FormatError,
    InvalidChange,
    InvalidKeys,
    InvalidTree,
    Malformed,
    NotFound,
    NotTrusted,
    RepositoryBusy,
    RepositoryExists,
    StorageFailed,
    WhitelistExpired,
)
from workers.cvmfs.hash import ContentHash, Kind, path_key
from workers.cvmfs.keys import KeyRing, parse_public_key
from workers.cvmfs.local_storage import LocalStorage
from workers.cvmfs.manifest import RepositoryManifest
from workers.cvmfs.prepare import PreparedTree
from workers.cvmfs.sink import ContentSink
from workers.cvmfs.snapshot import Snapshot
from workers.cvmfs.storage import ObjectSource, Storage
from workers.cvmfs.trust import load_head

__all__ = [
    "STORED",
    "ZLIB",
    "Catalog",
    "Chunk",
    "Content",
    "ContentHash",
    "ContentSink",
    "Damaged",
    "Directory",
    "Dirent",
    "FormatError",
    "InvalidChange",
    "InvalidKeys",
    "InvalidTree",
    "KeyRing",
    "Kind",
    "LocalStorage",
    "Malformed",
    "NestedCatalog",
    "NotFound",
    "NotTrusted",
    "ObjectSource",
    "PreparedTree",
    "RepositoryBusy",
    "RepositoryExists",
    "RepositoryManifest",
    "Snapshot",
    "Storage",
    "StorageFailed",
    "Tree",
    "WhitelistExpired",
    "load_head",
    "parse_public_key",
    "path_key",
]
