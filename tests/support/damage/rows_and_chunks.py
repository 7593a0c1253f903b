"""Mistakes in the rows of one catalog."""

from tests.support.damage.damage import (
    DEEP,
    DIRECTORY,
    EMPTY,
    FILE,
    LARGE,
    LINK,
    PIPE,
    ROOT,
    SOME_HASH,
    change_catalog,
    change_row,
    key_of,
    parent_of,
    where_path,
)
from tests.support.damage.editable_repository import IMAGE

ROWS = (
    change_row(
        "a file has no hash", FILE, "hash = NULL", f"{FILE}: is a regular file with"
    ),
    change_row(
        "a symlink has a hash", LINK, f"hash = {SOME_HASH}", f"{LINK}: has a content"
    ),
    change_row(
        "a fifo has a hash", PIPE, f"hash = {SOME_HASH}", f"{PIPE}: has a content"
    ),
    change_row(
        "a directory has a hash",
        DIRECTORY,
        f"hash = {SOME_HASH}",
        f"{DIRECTORY}: has a content hash but is no regular file",
    ),
    change_row(
        "a fifo has a size", PIPE, "size = 5", f"{PIPE}: is a fifo or socket of size 5"
    ),
    change_row(
        "a fifo has a target", PIPE, "symlink = 'x'", f"{PIPE}: has the target b'x'"
    ),
    change_row(
        "a file has a target",
        FILE,
        "symlink = 'x'",
        f"{FILE}: has the target b'x'",
        stock=False,
    ),
    change_row(
        "a symlink has no target",
        LINK,
        "symlink = ''",
        f"{LINK}: is a symlink without target",
        stock=False,
    ),
    change_row(
        "the link count of a directory is not that of its directories",
        DIRECTORY,
        "hardlinks = 9",
        f"{DIRECTORY}: has link count 9 but 1 directories in it, so it must be 3",
    ),
    change_row(
        "a file has no links", FILE, "hardlinks = 0", f"{FILE}: has link count 0"
    ),
    change_row(
        "a file has two links but no group",
        FILE,
        "hardlinks = 2",
        f"{FILE}: has several links but no hard link group",
    ),
    change_row(
        "a directory is in a hard link group",
        DIRECTORY,
        "hardlinks = (99 << 32) | 3",
        f"{DIRECTORY}: is a directory in a hard link group",
    ),
    change_catalog(
        "a hard link group has fewer members than links",
        IMAGE,
        "UPDATE catalog SET hardlinks = hardlinks + 1 WHERE hardlinks >> 32 > 0",
        "/image/twin1: hard link group 1 has link count 3 but 2 members",
    ),
    change_row(
        "hard links differ in what they share",
        "/image/twin1",
        "mtime = 7, uid = 7",
        "/image/twin1: hard link group 1 has members that differ in mtime, uid",
    ),
    change_row(
        "hard links lie in several directories",
        "/image/twin2",
        f"{key_of('/image/directory/twin2')}, {parent_of(DIRECTORY)}",
        "/image/twin1: hard link group 1 has members in several directories",
    ),
    change_row(
        "a file is of no known type",
        EMPTY,
        "mode = 12708",
        f"{EMPTY}: mode 30644 is no known type of file",
        regular=-1,
    ),
    change_row(
        "flags contradict the mode",
        FILE,
        "flags = 12",
        f"{FILE}: flags 0xc say another type of file than mode 100644",
        stock=False,
    ),
    change_row(
        "a file is marked as mountpoint",
        FILE,
        "flags = flags | 2",
        f"{FILE}: flags 0x6 of a mountpoint on something else",
        stock=False,
    ),
    change_row(
        "a directory is marked as root of a nested catalog",
        DIRECTORY,
        "flags = flags | 32",
        f"{DIRECTORY}: is marked as root of a nested catalog, inside of a catalog",
        stock=False,
    ),
    change_row(
        "a symlink is chunked", LINK, "flags = flags | 64", f"{LINK}: is chunked but"
    ),
    change_row(
        "a symlink is external", LINK, "flags = flags | 128", f"{LINK}: is external b"
    ),
    change_row(
        "a symlink has direct input and output",
        LINK,
        "flags = flags | 65536",
        f"{LINK}: has direct I/O but",
    ),
    change_row(
        "a hash is of no known algorithm",
        FILE,
        "flags = flags | 1792",
        f"{FILE}: flags 0x704 say an unknown hash algorithm",
        stock=None,
    ),
    change_row(
        "a compression is not known",
        FILE,
        "flags = flags | 14336",
        f"{FILE}: flags 0x3804 say an unknown compression",
        stock=None,
    ),
    change_row(
        "a marker lies where no catalog begins",
        "/image/directory/deep/down",
        f"name = '.cvmfscatalog', {key_of('/image/directory/deep/.cvmfscatalog')}",
        "/image/directory/deep/.cvmfscatalog: is the marker of a nested catalog",
    ),
    change_row(
        "a nested catalog has no marker",
        "/image/.cvmfscatalog",
        f"name = 'x', {key_of('/image/x')}",
        "/image: is a nested catalog without .cvmfscatalog in it",
    ),
    change_row(
        "a marker is no regular file",
        "/image/.cvmfscatalog",
        "mode = 4480, flags = 20, hash = NULL",
        "/image/.cvmfscatalog: is the marker of a nested catalog, but no regular file",
        stock=False,
        regular=-1,
        special=1,
    ),
    change_catalog(
        "the root catalog has a marker",
        ROOT,
        f"UPDATE catalog SET name = '.cvmfscatalog', {key_of('/.cvmfscatalog')},"
        f" parent_1 = key1(''), parent_2 = key2('') {where_path('/plain/readme')}",
        "/.cvmfscatalog: is the marker of a nested catalog, but there is none",
        stock=False,
    ),
    change_row(
        "a file is filed under another path's key",
        FILE,
        "md5path_1 = md5path_1 + 1",
        f"{FILE}: is filed under the path key of another path",
        stock=False,
    ),
    change_row(
        "a directory is filed under another path's key",
        DEEP,
        "md5path_1 = md5path_1 + 1",
        f"{DEEP}: is filed under the path key of another path",
    ),
    change_row(
        "a name is there twice",
        EMPTY,
        "name = 'file'",
        f"{FILE}: is there twice: the name is taken already",
        stock=False,
    ),
    change_row(
        "a name is empty",
        EMPTY,
        f"name = '', {key_of('/image/')}",
        "/image/: has a name that no directory can hold: b''",
    ),
    change_row(
        "a name has a slash",
        EMPTY,
        f"name = 'a/b', {key_of('/image/a/b')}",
        "/image/a/b: has a name that no directory can hold: b'a/b'",
        stock=False,
    ),
    change_row(
        "an entry has no directory",
        EMPTY,
        "parent_1 = 5",
        "/image: catalog has 1 entries, as b'empty', in no directory",
    ),
    change_row(
        "directories lead in circles",
        DIRECTORY,
        parent_of(DEEP),
        "/image: has link count 3 but 0 directories in it",
        "/image: catalog has 4 entries that nothing leads to",
    ),
    change_catalog(
        "a directory is gone but its entries are there",
        IMAGE,
        f"DELETE FROM catalog {where_path(DIRECTORY)}",
        "/image: has link count 3 but 0 directories in it",
        "/image: catalog has 2 entries, as ",
        "/image: catalog has 1 entries that nothing leads to",
        dir=-1,
    ),
    change_row(
        "extended attributes are unreadable",
        "/image/private",
        "xattr = x'0201'",
        "/image/private: has extended attributes: not a list",
        stock=False,
    ),
    change_row(
        "there is a list of no extended attributes",
        "/image/private",
        "xattr = x'0100'",
        "/image/private: has extended attributes: none, but not NULL",
        stock=False,
    ),
    change_row(
        "an owner is no number",
        FILE,
        "uid = 'nobody'",
        f"{FILE}: column uid holds b'nobody'",
        stock=False,
    ),
    change_row(
        "a name is NULL",
        EMPTY,
        "name = NULL",
        "/image/?: column name holds None",
        stock=None,
    ),
    change_row(
        "a hash is too short",
        FILE,
        "hash = x'00ff'",
        f"{FILE}: column hash holds b'\\x00\\xff'",
        stock=None,
    ),
    change_row(
        "the nanoseconds are more than a second",
        FILE,
        "mtimens = 1000000000",
        f"{FILE}: column mtimens holds 1000000000",
        stock=False,
    ),
    change_row(
        "extended attributes are text",
        "/image/private",
        "xattr = 'user.a'",
        "/image/private: column xattr holds b'user.a'",
        stock=False,
    ),
    change_row(
        "an owner is out of range",
        FILE,
        "gid = -1",
        f"{FILE}: column gid holds -1",
        stock=False,
    ),
    change_row(
        "a size is negative",
        PIPE,
        "size = -4",
        f"{PIPE}: column size holds -4",
    ),
)

CHUNKS = (
    change_catalog(
        "chunks leave a gap",
        IMAGE,
        "UPDATE chunks SET offset = 12 WHERE offset = 11",
        f"{LARGE}: has chunks that do not follow one another from 0",
    ),
    change_catalog(
        "chunks do not begin at 0",
        IMAGE,
        "UPDATE chunks SET offset = offset + 1",
        f"{LARGE}: has chunks that do not follow one another from 0",
    ),
    change_row(
        "chunks do not add up to their file",
        LARGE,
        "size = 18",
        f"{LARGE}: has 18 bytes but its chunks have 17",
        file_size=1,
        chunked_size=1,
    ),
    change_catalog(
        "a chunked file has no chunks",
        IMAGE,
        "DELETE FROM chunks",
        f"{LARGE}: is a chunked file without chunks",
        chunks=-2,
    ),
    change_catalog(
        "a chunk has no hash",
        IMAGE,
        "UPDATE chunks SET hash = NULL WHERE offset = 11",
        f"{LARGE}: has 1 chunks that make no sense",
        stock=True,
    ),
    change_catalog(
        "a chunk belongs to no file",
        IMAGE,
        f"INSERT INTO chunks VALUES (1, 2, 0, 5, {SOME_HASH})",
        "/image: catalog has 1 chunks of no chunked file",
        chunks=1,
    ),
)
