"""Any entry and any tree, as hypothesis draws them."""

import stat

from hypothesis import strategies as st

from tests.support.repositories.repository_builders import Numbers
from workers.cvmfs import (
    Content,
    Directory,
    Dirent,
    Tree,
)

_NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: (
        not {0, ord("/")} & set(name) and name not in (b".", b"..", b".cvmfscatalog")
    )
)
_NUMBERS = st.builds(
    Numbers,
    mtime=st.integers(-(2**40), 2**40),
    mtime_ns=st.integers(0, 999_999_999),
    uid=st.integers(0, 2**32 - 1),
    gid=st.integers(0, 2**32 - 1),
)
_XATTRS = st.dictionaries(
    st.binary(min_size=1, max_size=20).filter(lambda name: 0 not in name),
    st.binary(max_size=40),
    max_size=3,
).map(lambda pairs: tuple(sorted(pairs.items())))
_PERMISSIONS = st.integers(0, 0o7777)


@st.composite
def dirents(draw: st.DrawFn) -> Dirent:
    """Any entry; contents are made up."""
    kind = draw(
        st.sampled_from(
            [
                stat.S_IFREG,
                stat.S_IFREG,
                stat.S_IFDIR,
                stat.S_IFLNK,
                stat.S_IFCHR,
                stat.S_IFIFO,
            ]
        )
    )
    entry = Dirent(kind | draw(_PERMISSIONS), xattrs=draw(_XATTRS))
    entry = entry._replace(**draw(_NUMBERS))
    if kind == stat.S_IFREG:
        digest = draw(st.binary(min_size=20, max_size=20))
        content = Content(digest, draw(st.integers(0, 2**40)))
        return entry._replace(content=content)
    if kind == stat.S_IFLNK:
        target = draw(st.binary(min_size=1, max_size=30).filter(lambda t: 0 not in t))
        return entry._replace(target=target)
    if kind == stat.S_IFCHR:
        return entry._replace(device=draw(st.integers(0, 2**32)))
    return entry


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Any tree; contents are made up, so they can be listed but not read."""
    root = Dirent(stat.S_IFDIR | draw(_PERMISSIONS))._replace(**draw(_NUMBERS))
    directories: dict[bytes, Directory] = {}
    pending = [b""]
    while pending:
        path = pending.pop()
        size = 4 if len(directories) < 6 else 0
        entries = draw(st.dictionaries(_NAMES, dirents(), max_size=size))
        directories[path] = entries
        pending += [
            path + b"/" + name if path else name
            for name, entry in entries.items()
            if stat.S_ISDIR(entry.mode)
        ]
    return Tree(root, directories)
