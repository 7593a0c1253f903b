"""From a member of a tar to a directory entry, if a catalog can hold it."""

import os
import stat

from workers.cvmfs import Content, Dirent
from workers.images.layers.names import LONGEST_PATH, split_name
from workers.images.rejected import ImageRejected, printable
from workers.images.tar.reader import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARD_LINK,
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
_LARGEST_ID = 0xFFFF_FFFE  # Linux
_UNCHANGED_ID = 0xFFFF_FFFF  # to lchown(2): whoever unpacks owns it, and that is root
_SMALLEST_ID = -(1 << 31)  # what 32 bits hold of a negative one
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
        raise _refused(member, f"the unknown type {printable(member.kind)}")
    uid, gid = member.uid, member.gid
    if not (0 <= uid <= _LARGEST_ID and 0 <= gid <= _LARGEST_ID):
        uid, gid = _unusual_owner(member, uid), _unusual_owner(member, gid)
    if not -_LARGEST_TIME <= member.mtime <= _LARGEST_TIME:
        raise _refused(member, f"the time {member.mtime}")
    mode, target, device = member.mode, b"", 0
    if type_bits == stat.S_IFLNK:
        # A symlink has no permissions of its own; Linux shows 0777.
        mode, target = 0o777, member.link
    elif type_bits in (stat.S_IFCHR, stat.S_IFBLK):
        major, minor = member.device
        if not (0 <= major <= _LARGEST_MAJOR and 0 <= minor <= _LARGEST_MINOR):
            raise _refused(member, f"the device number {major}:{minor}")
        device = os.makedev(major, minor)
    return Dirent(
        type_bits | mode,
        uid,
        gid,
        member.mtime,
        member.mtime_ns,
        content,
        target,
        device,
        member.xattrs,
    )


def check_target(member: Member) -> None:
    """Refuse a link whose target no file system could take.

    Raises:
        ImageRejected: it is empty, too long, or has a NUL byte.
    """
    if member.kind == HARD_LINK:
        split_name(member.link)
    elif member.kind == SYMLINK:
        size = len(member.link)
        if size > LONGEST_PATH:
            raise _refused(
                member, f"the target of {size} bytes, where Linux takes {LONGEST_PATH}"
            )
        if not size or b"\0" in member.link:
            raise _refused(member, f"the target {printable(member.link)}")


def own_xattrs(member: Member) -> Xattrs:
    """Return the attributes of a member that are the image's own.

    Raises:
        ImageRejected: one is longer than Linux takes.
    """
    for name, value in member.xattrs:
        if not 0 < len(name) <= _LONGEST_XATTR_NAME or b"\0" in name:
            raise _refused(member, f"the attribute {printable(name)}")
        if len(value) > _LONGEST_XATTR:
            size = len(value)
            raise _refused(member, f"{size} bytes in its attribute {printable(name)}")
    return tuple(
        pair for pair in member.xattrs if not pair[0].startswith(_FOREIGN_XATTRS)
    )


def _unusual_owner(member: Member, number: int) -> int:
    """Return the owner that Linux makes of a number.

    Runtimes give it to lchown(2), which takes 32 bits: -2 is 4294967294 there, and -1
    leaves a file to who unpacks it, which is root.
    """
    if not _SMALLEST_ID <= number <= _UNCHANGED_ID:
        raise _refused(member, f"the owner {member.uid}:{member.gid}")
    number &= _UNCHANGED_ID
    return 0 if number == _UNCHANGED_ID else number


def _refused(member: Member, what: str) -> ImageRejected:
    return ImageRejected(f"a layer has {printable(member.name)} with {what}")
