"""Repositories, keys and trees for the tests of ``workers.cvmfs``."""

import os
import stat
import struct
from functools import cache
from pathlib import Path
from typing import TypedDict, Unpack

from workers.cvmfs import (
    Catalog,
    Content,
    ContentStore,
    Dirent,
    KeyRing,
    LocalStorage,
    NestedCatalog,
    Repository,
    Storage,
    StreamedTree,
    Tree,
)


class Numbers(TypedDict, total=False):
    """The fields of a ``Dirent`` that all kinds of entries have."""

    uid: int
    gid: int
    mtime: int
    mtime_ns: int
    link_group: int


FQRN = "test.example.org"
NOW = 1_800_000_000
WIDE_TREE_TOPS = (b"a", b"b", b"c", b"d", b"e")
_CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
"""cap_net_bind_service, effective and permitted (struct vfs_cap_data); the kernel does
not hand out one that it cannot read."""


@cache
def keys(fqrn: str = FQRN) -> KeyRing:
    """Return keys made once per run: making them takes half a second."""
    return KeyRing.generate(fqrn, now=NOW)


def save_keys(ring: KeyRing, directory: Path) -> None:
    """Write the files of a ring where nobody else reads or writes yet."""
    directory.mkdir(parents=True, exist_ok=True)
    for suffix, content in ring.files().items():
        path = directory / f"{ring.fqrn}{suffix}"
        path.write_bytes(content)
        path.chmod(0o444 if suffix in {".pub", ".crt"} else 0o400)


def save_new_keys(ring: KeyRing, directory: Path) -> None:
    """Write a ring as it is found while its repository is being made."""
    save_keys(ring, directory)
    (directory / f".{ring.fqrn}.begun").touch()


def is_mountpoint(path: bytes) -> bool:
    """A layout like the real one: shards and registries are nested catalogs."""
    names = path.split(b"/")[1:]
    return names[0] in (b".flat", b"registry") and len(names) <= 2


def new_repository(base: Path, storage: Storage | None = None) -> Repository:
    return Repository.create(
        FQRN,
        LocalStorage(base) if storage is None else storage,
        keys(),
        now=NOW,
        ttl=60,
        is_mountpoint=is_mountpoint,
    )


def file(content: Content, mode: int = 0o644, **fields: Unpack[Numbers]) -> Dirent:
    return Dirent(stat.S_IFREG | mode, content=content)._replace(**fields)


def directory(mode: int = 0o755, **fields: Unpack[Numbers]) -> Dirent:
    return Dirent(stat.S_IFDIR | mode)._replace(**fields)


def link(target: bytes) -> Dirent:
    return Dirent(stat.S_IFLNK | 0o777, target=target)


def nothing_nested(reference: NestedCatalog) -> Catalog:
    """Open nested catalogs for ``read_tree`` where there are none."""
    raise KeyError(reference)


def streamed(tree: Tree) -> StreamedTree:
    """Return a tree as it comes when it is read one directory at a time."""
    root = {b"": tree.directories[b""]} if b"" in tree.directories else {}
    return StreamedTree(tree.root, iter({**root, **tree.directories}.items()))


def gathered(written: StreamedTree) -> Tree:
    """Return the same as a whole."""
    return Tree(written.root, dict(written.directories))


def small_tree(sink: ContentStore, text: bytes = b"hello") -> Tree:
    """Return a tree with one of everything."""
    hard = file(sink.put_bytes(b"hard " + text), link_group=1)
    return Tree(
        directory(mtime=-3, mtime_ns=5),
        {
            b"": {
                b"bin": directory(0o1777),
                b"empty": file(sink.put_bytes(b""), mtime=1),
                b"hello": file(sink.put_bytes(text), 0o4755, uid=4_000_000_000, gid=3),
                b"link": link(b"bin/one"),
                b"null": Dirent(stat.S_IFCHR | 0o666, device=os.makedev(1, 3)),
                b"disk": Dirent(stat.S_IFBLK | 0o660, device=os.makedev(511, 70000)),
                b"pipe": Dirent(stat.S_IFIFO | 0o600),
                b"socket": Dirent(stat.S_IFSOCK | 0o600),
                b"not \xff utf-8": file(sink.put_bytes(b"odd name")),
                b"\xfe link": link(b"\xfd"),
                "Ünïcode \N{PILE OF POO}\n".encode(): file(sink.put_bytes(b"fine")),
            },
            b"bin": {
                b"one": hard,
                b"two": hard,
                b"deep": directory(0o000),
                b"capable": file(sink.put_bytes(b"x"))._replace(
                    xattrs=((b"security.capability", _CAPABILITY), (b"user.empty", b""))
                ),
            },
            b"bin/deep": {},
        },
    )


def wide_tree(sink: ContentStore, text: bytes = b"text", files: int = 4) -> Tree:
    """Return a tree of five directories, each with as many files and one deep down."""
    content = sink.put_bytes(text)
    tree = Tree(directory(mtime=5), {b"": {}})
    for top in WIDE_TREE_TOPS:
        inner = top + b"/inner"
        tree.directories.put(b"", top, directory(0o711, mtime=7, mtime_ns=9))
        tree.directories[top] = {
            b"inner": directory(uid=3),
            **{b"%d" % number: file(content) for number in range(files)},
        }
        tree.directories[inner] = {
            b"%d" % number: file(content) for number in range(files)
        }
    return tree
