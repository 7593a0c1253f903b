"""Directory trees, on disk or as metadata, as listings that can be compared.

    expected = list_directory(bundle / "rootfs")
    actual = list_tree(tree, sink.pieces)
    assert differences(expected, actual) == []

A listing says everything of every object that a user of it can see, so two listings
that are equal are two trees that nobody can tell apart.
"""

# Names are bytes, which Path does not take.
# ruff: noqa: PTH115, PTH123, PTH208

import dataclasses
import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from workers.cvmfs import Content, Dirent, Tree

_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One object as its users see it.

    Attributes:
        type: in words.
        mode: permission bits.
        size: of files; else 0.
        mtime: nanoseconds since 1970.
        target: of symlinks.
        device: major and minor of devices.
        xattrs: sorted by name.
        sha256: of a file's content, in hex.
        linked: the first by name of all names of this file; empty if there is one only.
    """

    type: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    sha256: str = ""
    linked: bytes = b""


Listing = dict[bytes, Entry]

_NOTHING = Entry("nothing", mode=0, uid=0, gid=0, size=0, mtime=0)


def list_directory(root: Path) -> Listing:
    """List what is in and below a directory; the root itself has the path ``b""``.

    As root this reads files that nobody may read. Symlinks are not followed. A name
    that the directory lists and that is not there is told as being nothing.
    """
    top = os.fsencode(root)
    listing: Listing = {}
    inodes: dict[bytes, int] = {}
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        place = top + b"/" + path if path else top
        try:
            status = os.lstat(place)
        except FileNotFoundError:
            listing[path] = _NOTHING
            continue
        listing[path] = _entry_on_disk(place, status)
        if stat.S_ISDIR(status.st_mode):
            below = path + b"/" if path else b""
            waiting += [below + name for name in os.listdir(place)]
        elif status.st_nlink > 1:
            inodes[path] = status.st_ino
    return _with_links(listing, inodes)


def list_tree(tree: Tree, read: Callable[[Content], Iterable[bytes]]) -> Listing:
    """List a tree of metadata; ``read`` gives the bytes of a file again.

    Raises:
        AssertionError: the tree breaks a rule of ``Tree``.
    """
    listing: Listing = {b"": _entry_in_tree(tree.root, read)}
    groups: dict[bytes, int] = {}
    directories = {b""}
    for directory, entries in tree.directories.items():
        for name, dirent in entries.items():
            path = directory + b"/" + name if directory else name
            listing[path] = _entry_in_tree(dirent, read)
            if stat.S_ISDIR(dirent.mode):
                directories.add(path)
            elif dirent.link_group:
                groups[path] = dirent.link_group
    assert directories == set(tree.directories)
    return _with_links(listing, groups)


def differences(
    left: Listing,
    right: Listing,
    *,
    names: tuple[str, str] = ("expected", "actual"),
    ignore: Iterable[str] = (),
) -> list[str]:
    """Return what is not the same, a line each, in order of the paths.

    Args:
        left: a listing.
        right: another.
        names: of the two, for the lines.
        ignore: names of fields that may differ.
    """
    fields = [
        field.name for field in dataclasses.fields(Entry) if field.name not in ignore
    ]
    lines = []
    for path in sorted(left.keys() | right.keys()):
        one, other = left.get(path), right.get(path)
        if one is None or other is None:
            present = one or other
            assert present is not None
            lines.append(f"{path!r}: a {present.type} in {names[other is not None]}")
            continue
        lines += [
            f"{path!r}: {field} is {_shown(field, one)} in {names[0]}, "
            f"{_shown(field, other)} in {names[1]}"
            for field in fields
            if getattr(one, field) != getattr(other, field)
        ]
    return lines


def _shown(field: str, entry: Entry) -> str:
    value = getattr(entry, field)
    return oct(value) if field == "mode" else repr(value)


def _entry_on_disk(place: bytes, status: os.stat_result) -> Entry:
    kind = stat.S_IFMT(status.st_mode)
    names = sorted(map(os.fsencode, os.listxattr(place, follow_symlinks=False)))
    is_device = kind in (stat.S_IFCHR, stat.S_IFBLK)
    return Entry(
        _TYPES[kind],
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_size if kind == stat.S_IFREG else 0,
        status.st_mtime_ns,
        os.readlink(place) if kind == stat.S_IFLNK else b"",
        _numbers(status.st_rdev) if is_device else (0, 0),
        tuple(
            (name, os.getxattr(place, name, follow_symlinks=False)) for name in names
        ),
        _hash_of(place) if kind == stat.S_IFREG else "",
    )


def _entry_in_tree(dirent: Dirent, read: Callable[[Content], Iterable[bytes]]) -> Entry:
    kind = stat.S_IFMT(dirent.mode)
    digest = ""
    if kind == stat.S_IFREG:
        assert dirent.content is not None
        whole = hashlib.sha256()
        for data in read(dirent.content):
            whole.update(data)
        digest = whole.hexdigest()
    assert list(dirent.xattrs) == sorted(dirent.xattrs)
    assert 0 <= dirent.mtime_ns < 10**9
    is_device = kind in (stat.S_IFCHR, stat.S_IFBLK)
    return Entry(
        _TYPES[kind],
        stat.S_IMODE(dirent.mode),
        dirent.uid,
        dirent.gid,
        dirent.content.size if dirent.content is not None else 0,
        dirent.mtime * 10**9 + dirent.mtime_ns,
        dirent.target,
        _numbers(dirent.device) if is_device else (0, 0),
        dirent.xattrs,
        digest,
    )


def _numbers(device: int) -> tuple[int, int]:
    return os.major(device), os.minor(device)


def _hash_of(place: bytes) -> str:
    with open(place, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _with_links(listing: Listing, files: dict[bytes, int]) -> Listing:
    """Fill in ``linked``; ``files`` gives by path what all names of a file share."""
    names: dict[int, list[bytes]] = {}
    for path, number in files.items():
        names.setdefault(number, []).append(path)
    for paths in names.values():
        if len(paths) > 1:
            for path in paths:
                listing[path] = dataclasses.replace(listing[path], linked=min(paths))
    return listing
