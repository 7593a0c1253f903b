"""From a member of a tar to a directory entry, if a catalog can hold it."""

import os
import stat

from workers.cvmfs import Content, Dirent
from workers.images.layers.names import LONGEST_PATH
from workers.images.rejected import ImageRejected, printable
from workers.images.tar.reader import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    REGULAR,
    SYMLINK,
    Member,
    Xattrs,
)

_TYPE_BITS = {
    REGULAR: stat.S_IFREG,
    SYMLINK: stat.S_IFLNK,
    CHARACTER: stat.S_IFCHR,
    BLOCK_DEVICE: stat.S_IFBLK,
    DIRECTORY: stat.S_IFDIR,
    FIFO: stat.S_IFIFO,
}
# Labels and access lists of the machine that built the image mean nothing on another,
# and nobody but us may speak to an overlay file system through a layer.
_FOREIGN_XATTRS = (
    b"security.selinux",
    b"system.nfs4_acl",
    b"trusted.overlay.",
    b"user.overlay.",
)
_LARGEST_ID = 0xFFFF_FFFE  # Linux; one more means "do not change"
_LARGEST_TIME = (1 << 63) - 1
_LARGEST_MAJOR, _LARGEST_MINOR = (1 << 12) - 1, (1 << 20) - 1  # Linux, kdev_t.h
_LONGEST_XATTR_NAME, _LONGEST_XATTR = 255, 1 << 16  # Linux, limits.h


def dirent_of(member: Member, content: Content | None = None) -> Dirent:
    """Return the entry that a member is, hard links aside.

    Raises:
        ImageRejected: of unknown type, or with a value that no file system has.
    """
    type_bits = _TYPE_BITS.get(member.kind)
    if type_bits is None:
        raise _refused(member, f"the unknown type {member.kind!r}")
    if not (0 <= member.uid <= _LARGEST_ID and 0 <= member.gid <= _LARGEST_ID):
        raise _refused(member, f"the owner {member.uid}:{member.gid}")
    if not -_LARGEST_TIME <= member.mtime <= _LARGEST_TIME:
        raise _refused(member, f"the time {member.mtime}")
    mode, target, device = member.mode, b"", 0
    if type_bits == stat.S_IFLNK:
        # A symlink has no permissions of its own; Linux shows 0777.
        mode, target = 0o777, member.link
        if not 0 < len(target) <= LONGEST_PATH or b"\0" in target:
            raise _refused(member, f"the target {printable(target)}")
    elif type_bits in (stat.S_IFCHR, stat.S_IFBLK):
        major, minor = member.device
        if not (0 <= major <= _LARGEST_MAJOR and 0 <= minor <= _LARGEST_MINOR):
            raise _refused(member, f"the device number {major}:{minor}")
        device = os.makedev(major, minor)
    return Dirent(
        type_bits | mode,
        member.uid,
        member.gid,
        member.mtime,
        member.mtime_ns,
        content,
        target,
        device,
        _own_xattrs(member) if member.xattrs else (),
    )


def _own_xattrs(member: Member) -> Xattrs:
    for name, value in member.xattrs:
        if not 0 < len(name) <= _LONGEST_XATTR_NAME or b"\0" in name:
            raise _refused(member, f"the attribute {printable(name)}")
        if len(value) > _LONGEST_XATTR:
            size = len(value)
            raise _refused(member, f"{size} bytes in its attribute {printable(name)}")
    return tuple(
        pair for pair in member.xattrs if not pair[0].startswith(_FOREIGN_XATTRS)
    )


def _refused(member: Member, what: str) -> ImageRejected:
    return ImageRejected(f"a layer has {printable(member.name)} with {what}")
