"""A repository to be damaged on purpose, each time in one way only.

Catalogs are edited by SQL; all that depends on their hashes (catalogs around them,
history, reflog, manifest and its signature) is made to fit again, so that what a test
finds afterwards is what it did and nothing else.
"""

import io
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from tests.support.repositories.repository_builders import FQRN, NOW, keys
from workers.cvmfs.catalog.database import open_database
from workers.cvmfs.catalog.reader import NestedCatalog
from workers.cvmfs.checking.check import Finding, check
from workers.cvmfs.commit.changes import GraftTree, PutFile, PutLink
from workers.cvmfs.errors import NotFound
from workers.cvmfs.objects.objects import get_object, pack
from workers.cvmfs.repository import Repository
from workers.cvmfs.signing.manifest import RepositoryManifest
from workers.cvmfs.storage.local import LocalStorage
from workers.cvmfs.storage.storage import MANIFEST, REFLOG
from workers.cvmfs.values.dirent import STORED, Chunk, Content, Dirent
from workers.cvmfs.values.hash import ContentHash, Kind, path_key
from workers.cvmfs.values.trees import Tree

IMAGE, OUTER, INNER = b"/image", b"/shelf", b"/shelf/other"

_REMOUNT = "UPDATE nested_catalogs SET sha1 = '{}', size = {} WHERE path = '{}'"
_FILE, _DIRECTORY, _LINK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK


def sound_repository() -> "EditableRepository":
    """Return a repository that has one of everything the format knows.

    ``/image`` and ``/shelf`` are nested catalogs, ``/shelf/other`` one in the latter.
    It is made once per run; what is returned may be damaged.
    """
    return _sound_repository().copy()


@cache
def _sound_repository() -> "EditableRepository":
    with TemporaryDirectory() as directory:
        return _build(Path(directory))


def _build(directory: Path) -> "EditableRepository":
    storage = LocalStorage(directory)
    repository = Repository.create(
        FQRN, storage, keys(), now=NOW, is_mountpoint=lambda path: path == OUTER
    )
    image = repository.prepare(IMAGE, _image(repository, storage))
    content = repository.sink.put_bytes(b"other")
    other = repository.prepare(
        INNER,
        Tree(
            Dirent(_DIRECTORY, mtime=NOW),
            {b"": {b"file": Dirent(_FILE, mtime=NOW, content=content)}},
        ),
    )
    repository.commit([GraftTree(IMAGE, image)], now=NOW + 1)
    repository.commit(
        [
            GraftTree(INNER, other),
            PutLink(b"/latest", b"image"),
            PutFile(b"/plain/readme", repository.sink.put_bytes(b"read me\n")),
        ],
        now=NOW + 2,
    )
    files = [path for path in directory.rglob("*") if path.is_file()]
    return EditableRepository(
        {str(path.relative_to(directory)): path.read_bytes() for path in files}
    )


def _image(repository: Repository, storage: LocalStorage) -> Tree:
    put = repository.sink.put_bytes

    def file(data: bytes, **more: Any) -> Dirent:
        return Dirent(_FILE, mtime=NOW, content=put(data), **more)

    pieces = [b"first piece", b"second"]
    chunks = []
    for offset, piece in zip((0, len(pieces[0])), pieces, strict=True):
        stored = pack(piece)
        digest = ContentHash.of(stored)
        storage.put(digest.path(Kind.PARTIAL), stored)
        chunks.append(Chunk(offset, len(piece), digest.digest))
    bare = b"stored as it is"
    bare_hash = ContentHash.of(bare)
    storage.put(bare_hash.path(Kind.BULK), bare)
    twin = file(b"twin", link_group=7)
    return Tree(
        Dirent(_DIRECTORY, mtime=NOW),
        {
            b"": {
                b"file": file(b"some bytes"),
                b"empty": file(b""),
                b"private": file(b"x", xattrs=((b"user.a", b"1"), (b"user.b", b""))),
                b"large": Dirent(
                    _FILE, content=Content(None, 17, chunks=tuple(chunks))
                ),
                b"bare": Dirent(
                    _FILE, content=Content(bare_hash.digest, len(bare), STORED)
                ),
                b"link": Dirent(_LINK | 0o777, target=b"file"),
                b"pipe": Dirent(stat.S_IFIFO | 0o600),
                b"null": Dirent(stat.S_IFCHR | 0o666, device=os.makedev(1, 3)),
                b"twin1": twin,
                b"twin2": twin,
                b"directory": Dirent(_DIRECTORY),
            },
            b"directory": {
                b"deep": Dirent(_DIRECTORY),
                b"odd\xe9\n": file(b"odd name"),
            },
            b"directory/deep": {b"down": file(b"here")},
        },
    )


class FilesInMemory:
    """The files of a repository, in memory: quickly copied, and damaged at will."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def get(self, path: str) -> bytes:
        try:
            return self.files[path]
        except KeyError as error:
            raise NotFound(f"no {path} in the storage") from error

    def open(self, path: str) -> BinaryIO:
        return io.BytesIO(self.get(path))

    def exists(self, path: str) -> bool:
        return path in self.files


class EditableRepository:
    """A repository to work on; its keys are at hand."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.storage = FilesInMemory(files)

    def copy(self) -> "EditableRepository":
        """Return another one, to be damaged without harm to this."""
        return EditableRepository(dict(self.files))

    def write(self, directory: Path) -> None:
        """Write the repository down, for readers that are not ours."""
        for name, data in self.files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def check(self, *, now: int = NOW, **options: Any) -> list[Finding]:
        return list(check(self.storage, FQRN, [keys().public_key], now=now, **options))

    def told(self, **options: Any) -> list[str]:
        """Check; return the findings as people read them."""
        return [str(finding) for finding in self.check(**options)]

    @property
    def manifest(self) -> RepositoryManifest:
        return RepositoryManifest.parse(self.storage.get(MANIFEST))

    def sign(self, **changes: Any) -> None:
        """Publish the manifest with other values."""
        manifest = replace(self.manifest, **changes)
        self.files[MANIFEST] = manifest.sign(keys().repository_key)

    def put(self, content: bytes, kind: Kind) -> ContentHash:
        return self.store(pack(content), kind)

    def store(self, stored: bytes, kind: Kind) -> ContentHash:
        """Store an object as it is; return its true hash."""
        digest = ContentHash.of(stored)
        self.files[digest.path(kind)] = stored
        return digest

    def catalog_name(self, mountpoint: bytes) -> str:
        """Return the object of a catalog."""
        return self._chain(mountpoint)[-1].hash.path(Kind.CATALOG)

    def count(self, mountpoint: bytes, **differences: int) -> None:
        """Add to the counters of a catalog, and to the subtree's of those around."""
        *around, target = [reference.path for reference in self._chain(mountpoint)]
        for scope, paths in (("self", [target]), ("subtree", around)):
            for path in paths:
                self.edit_catalog(
                    path,
                    *(
                        f"UPDATE statistics SET value = value + {difference}"
                        f" WHERE counter = '{scope}_{name}'"
                        for name, difference in differences.items()
                    ),
                )

    def edit_catalog(self, mountpoint: bytes, *statements: str) -> None:
        """Run SQL on a catalog; ``key1`` and ``key2`` give the key of a path."""
        self.replace_catalog(mountpoint, lambda data: _edited(data, statements))

    def replace_catalog(
        self, mountpoint: bytes, change: Callable[[bytes], bytes]
    ) -> None:
        """Put other bytes in the place of a catalog's database."""
        *around, target = self._chain(mountpoint)
        data = change(self._database(target))
        digest = self.put(data, Kind.CATALOG)
        inner = NestedCatalog(mountpoint, digest, len(data))
        for outer in reversed(around):
            data = _edited(
                self._database(outer),
                [_REMOUNT.format(inner.hash, inner.size, inner.path.decode())],
            )
            inner = NestedCatalog(outer.path, self.put(data, Kind.CATALOG), len(data))
        self.publish_root(inner.hash, inner.size)

    def publish_root(self, digest: ContentHash, size: int) -> None:
        """Publish another root catalog in the place of the current one."""
        old = self.manifest
        self.edit_history(
            f"UPDATE tags SET hash = '{digest}', size = {size}"
            f" WHERE hash = '{old.root_catalog}'"
        )
        self.sign(root_catalog=digest, root_catalog_size=size)
        self.edit_reflog(
            f"INSERT OR REPLACE INTO refs VALUES ('{digest}', 0, {NOW})",
        )

    def edit_history(self, *statements: str) -> None:
        history = self.manifest.history
        assert history is not None
        data = _edited(get_object(self.storage, history, Kind.HISTORY), statements)
        self.sign(history=self.put(data, Kind.HISTORY))
        self.edit_reflog(
            f"INSERT OR REPLACE INTO refs VALUES ('{self.manifest.history}', 2, {NOW})",
        )

    def edit_reflog(self, *statements: str) -> None:
        data = _edited(self.storage.get(REFLOG), statements)
        self.files[REFLOG] = data
        self.sign(reflog=ContentHash.of(data))

    def _chain(self, mountpoint: bytes) -> list[NestedCatalog]:
        """Return what names the catalogs from the root to one of them."""
        manifest = self.manifest
        chain = [NestedCatalog(b"", manifest.root_catalog, manifest.root_catalog_size)]
        while chain[-1].path != mountpoint:
            with opened_database(self._database(chain[-1])) as connection:
                chain += [
                    NestedCatalog(path, ContentHash.parse(text.decode()), size)
                    for path, text, size in connection.execute(
                        "SELECT path, sha1, size FROM nested_catalogs"
                    )
                    if path == mountpoint or mountpoint.startswith(path + b"/")
                ]
        return chain

    def _database(self, catalog: NestedCatalog) -> bytes:
        return get_object(self.storage, catalog.hash, Kind.CATALOG)


@contextmanager
def opened_database(data: bytes) -> Iterator[sqlite3.Connection]:
    """Open a database in memory, with ``key1`` and ``key2`` for path keys."""
    with closing(open_database(data, "database")) as connection:
        for index, name in enumerate(("key1", "key2")):
            connection.create_function(
                name, 1, lambda path, index=index: path_key(path.encode())[index]
            )
        yield connection


def _edited(data: bytes, statements: Sequence[str]) -> bytes:
    with opened_database(data) as connection:
        for statement in statements:
            connection.execute(statement)
        edited: bytes = connection.serialize()
        return edited
