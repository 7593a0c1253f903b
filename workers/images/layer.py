"""One layer as a tree of its own: what it adds, replaces and deletes.

A ``LayerTree`` is what the members of one tar come to when they are applied in order to
an empty directory, with everything kept that matters once the layer lies on others:
which directories no member names, what is deleted below, and which hard links point to
something that only a lower layer can have.

Nothing is ever unpacked: names are keys of dictionaries. They are checked all the same,
because other tools will unpack what we publish.

Read first: https://github.com/opencontainers/image-spec/blob/main/layer.md
("Applying Changesets", "Whiteouts").
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from workers.cvmfs import Content, Dirent, Tree
from workers.errors import PermanentError
from workers.images import tar
from workers.images.content import ContentPool, ContentWriter
from workers.images.decompress import LayerStream
from workers.images.tar import ByteStream, Member, TarReader

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
# AUFS's own bookkeeping; never part of an image.
_AUFS = b".wh..wh."

_SYMLINK_HOPS = 40  # Linux, MAXSYMLINKS
_NAME_LENGTH = 255
_PATH_LENGTH = 4096
IMPLIED = Dirent(stat.S_IFDIR | 0o755)

_TYPE_BITS = {
    tar.REGULAR: stat.S_IFREG,
    tar.SYMLINK: stat.S_IFLNK,
    tar.CHARACTER: stat.S_IFCHR,
    tar.BLOCK_DEVICE: stat.S_IFBLK,
    tar.DIRECTORY: stat.S_IFDIR,
    tar.FIFO: stat.S_IFIFO,
}
# Labels and access lists of the machine that built the image mean nothing on another,
# and nobody but us may speak to an overlay file system through a layer.
_FOREIGN_XATTRS = (
    b"security.selinux",
    b"system.nfs4_acl",
    b"trusted.overlay.",
    b"user.overlay.",
)


class ImageRejected(PermanentError):
    """An image that is not published, with the reason its author can act on."""


class LowerLink(NamedTuple):
    """A hard link whose target is in a lower layer.

    Attributes:
        directory: where the new name lies, relative to the root.
        name: the new name.
        target: path of the linked file, relative to the root.
    """

    directory: bytes
    name: bytes
    target: bytes


@dataclass(slots=True)
class LayerTree:
    """What one layer holds.

    Attributes:
        tree: entries that the layer adds or replaces. Groups of hard links are
            numbered from 1 within the layer.
        implied: directories that no member names; they leave what is below untouched.
        opaque: directories whose lower content is hidden.
        whiteouts: names deleted from lower layers, by directory.
        links: hard links into lower layers, in order.
        diff_id: digest of the uncompressed tar.
        size: bytes of all regular files, holes included.
        entries: number of members.
    """

    tree: Tree
    implied: set[bytes] = field(default_factory=lambda: {b""})
    opaque: set[bytes] = field(default_factory=set)
    whiteouts: dict[bytes, set[bytes]] = field(default_factory=dict)
    links: list[LowerLink] = field(default_factory=list)
    diff_id: str = ""
    size: int = 0
    entries: int = 0


class Limits(NamedTuple):
    """What a rule of the policy allows one image to be, over all its layers."""

    size_bytes: int
    files: int


class _Record(NamedTuple):
    """A member, its parent already split off, before its content is known."""

    parent: bytes
    name: bytes
    member: Member
    number: int  # of its content; -1 without


def read_layer(
    blob: ByteStream,
    pool: ContentPool,
    limits: Limits,
    progress: Callable[[int], None],
) -> LayerTree:
    """Read a compressed layer to its end and store the content of its files.

    Args:
        blob: the compressed layer; whoever opened it verifies its digest.
        pool: stores the content while the layer is being read.
        limits: of the whole image; one layer alone may not exceed them either.
        progress: told the number of uncompressed bytes read since the last call.

    Raises:
        ImageRejected: a name that leaves the root, or a limit is exceeded.
        DamagedTar, DamagedLayer: nothing can read this layer.
    """
    stream = LayerStream(blob)
    reader = TarReader(stream)
    writer = ContentWriter(pool)
    records: list[_Record] = []
    size = reported = 0
    piece_size = pool.sink.piece_size
    for member in reader:
        if len(records) >= limits.files:
            raise ImageRejected(f"the image has more than {limits.files} files")
        parent, name = split_name(member.name)
        number = -1
        if member.kind == tar.REGULAR and not name.startswith(WHITEOUT):
            size += member.size
            if size > limits.size_bytes:
                raise ImageRejected(
                    f"the image is larger than {limits.size_bytes} bytes"
                )
            if member.size <= piece_size:
                number = writer.add(reader.read_content(member))
            else:
                number = writer.add_pieces(reader.pieces(member, piece_size))
        records.append(_Record(parent, name, member, number))
        if stream.size - reported > 1 << 22:
            progress(stream.size - reported)
            reported = stream.size
    progress(stream.size - reported)
    builder = _Builder(writer.contents())
    for record in records:
        builder.add(record)
    layer = builder.layer
    layer.diff_id = stream.diff_id
    layer.size = size
    layer.entries = len(records)
    return layer


def split_name(raw: bytes) -> tuple[bytes, bytes]:
    """Return the directory and the last component of a member's name.

    Raises:
        ImageRejected: absolute names and ``..`` would leave the root in other tools'
            hands; a component above 255 bytes fits no file system.
    """
    if b"//" not in raw and raw[:1] != b"." and b"/." not in raw and raw[:1] != b"/":
        parent, _, name = raw.rpartition(b"/")
    else:
        if raw.startswith(b"/"):
            raise ImageRejected(f"a layer has the absolute name {printable(raw)}")
        parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise ImageRejected(f"a layer has a name with ..: {printable(raw)}")
        name = parts.pop() if parts else b""
        parent = b"/".join(parts)
    if b"\0" in raw:
        raise ImageRejected(f"a layer has a name with a NUL byte: {printable(raw)}")
    if len(raw) > _NAME_LENGTH and (
        len(raw) > _PATH_LENGTH or max(map(len, raw.split(b"/"))) > _NAME_LENGTH
    ):
        raise ImageRejected(f"a layer has a name that is too long: {printable(raw)}")
    return parent, name


def printable(name: bytes) -> str:
    """Return a name as text for a message, control characters escaped, cut short."""
    return repr(name.decode(errors="backslashreplace"))[:200]


def join(directory: bytes, name: bytes) -> bytes:
    """Return the path of ``name`` in ``directory``, both relative to the root."""
    return directory + b"/" + name if directory else name


class _Builder:
    """Applies members to an empty tree, in order."""

    def __init__(self, contents: list[Content]) -> None:
        self.layer = LayerTree(Tree(IMPLIED))
        self._contents = contents
        self._groups = 0
        # Most members share their parent with the one before.
        self._last: tuple[bytes, bytes] = (b"", b"")

    def add(self, record: _Record) -> None:
        """Apply one member."""
        parent, name, member, _ = record
        layer, directories = self.layer, self.layer.tree.directories
        if not name:
            if member.kind != tar.DIRECTORY:
                raise ImageRejected("a layer makes its root something else")
            layer.tree.root = _dirent(member)
            layer.implied.discard(b"")
            return
        directory = self._directory(parent)
        if name.startswith(WHITEOUT):
            self._white_out(directory, name)
            return
        path = join(directory, name)
        siblings = directories[directory]
        if member.kind == tar.DIRECTORY:
            if path not in directories:
                if siblings.pop(name, None) is not None:
                    layer.opaque.add(path)  # what was below went with the first one
                directories[path] = {}
            siblings[name] = _dirent(member)
            layer.implied.discard(path)
            return
        if path in directories:
            self._remove(directory, name)
        if member.kind == tar.HARD_LINK:
            self._link(directory, name, member)
            return
        content = self._contents[record.number] if record.number >= 0 else None
        siblings[name] = _dirent(member, content)

    def _directory(self, path: bytes) -> bytes:
        """Return where ``path`` really is, symlinks followed, made if missing."""
        if path == self._last[0] and self._last[1] in self.layer.tree.directories:
            return self._last[1]
        layer = self.layer
        real = resolve_directory(layer.tree, path, missing=layer.implied)
        self._last = (path, real)
        return real

    def _white_out(self, directory: bytes, name: bytes) -> None:
        if name == OPAQUE:
            self.layer.opaque.add(directory)
        elif not name.startswith(_AUFS):
            hidden = name.removeprefix(WHITEOUT)
            if hidden in (b"", b".", b".."):
                raise ImageRejected(f"a layer has the whiteout {printable(name)}")
            self.layer.whiteouts.setdefault(directory, set()).add(hidden)

    def _link(self, directory: bytes, name: bytes, member: Member) -> None:
        tree = self.layer.tree
        parent, last = split_name(member.link.lstrip(b"/"))
        real = find_directory(tree, parent)
        target = None if real is None else tree.directories[real].get(last)
        if target is None or real is None:
            siblings = tree.directories[directory]
            siblings.pop(name, None)
            self.layer.links.append(LowerLink(directory, name, join(parent, last)))
            return
        if stat.S_ISDIR(target.mode):
            raise ImageRejected(
                f"a layer has a hard link to a directory: {printable(member.link)}"
            )
        if not target.link_group:
            self._groups += 1
            target = target._replace(link_group=self._groups)
            tree.directories[real][last] = target
        tree.directories[directory][name] = target

    def _remove(self, directory: bytes, name: bytes) -> None:
        removed = remove(self.layer.tree, directory, name)
        self.layer.implied -= removed
        self.layer.opaque -= removed
        for path in removed:
            self.layer.whiteouts.pop(path, None)


def _dirent(member: Member, content: Content | None = None) -> Dirent:
    xattrs = member.xattrs
    if xattrs:
        xattrs = tuple(
            pair for pair in xattrs if not pair[0].startswith(_FOREIGN_XATTRS)
        )
    if member.kind not in _TYPE_BITS:
        raise ImageRejected(
            f"a layer has an entry of unknown type {member.kind!r}: "
            f"{printable(member.name)}"
        )
    is_link = member.kind == tar.SYMLINK
    return Dirent(
        # A symlink has no permissions of its own; Linux shows 0777.
        _TYPE_BITS[member.kind] | (0o777 if is_link else member.mode),
        member.uid,
        member.gid,
        member.mtime,
        member.mtime_ns,
        content,
        member.link if is_link else b"",
        os.makedev(*member.device) if member.device != (0, 0) else 0,
        xattrs,
    )


def remove(tree: Tree, directory: bytes, name: bytes) -> set[bytes]:
    """Remove an entry and all below it; return the directories that went."""
    tree.directories[directory].pop(name, None)
    removed: set[bytes] = set()
    waiting = [join(directory, name)]
    while waiting:
        path = waiting.pop()
        children = tree.directories.pop(path, None)
        if children is not None:
            removed.add(path)
            waiting += [
                join(path, child)
                for child, dirent in children.items()
                if stat.S_ISDIR(dirent.mode)
            ]
    return removed


def find_directory(tree: Tree, path: bytes) -> bytes | None:
    """Return where the directory ``path`` really is, or ``None`` if it is not."""
    return path if path in tree.directories else _walk(tree, path, None)


def resolve_directory(tree: Tree, path: bytes, missing: set[bytes]) -> bytes:
    """Return where the directory ``path`` really is; make it if it is missing.

    Symlinks are followed, absolute ones from the tree's root, as a process whose root
    this is would; ``..`` stops at the root. What stands in the way is replaced.

    Args:
        tree: is changed where directories are made.
        path: relative to the root, without ``..``.
        missing: gets the paths of the directories that were made.
    """
    if path in tree.directories:
        return path
    real = _walk(tree, path, missing)
    if real is None:
        raise ImageRejected(f"a layer has a loop of symlinks at {printable(path)}")
    return real


def _walk(tree: Tree, path: bytes, missing: set[bytes] | None) -> bytes | None:
    directories = tree.directories
    waiting = path.split(b"/")[::-1]
    at = b""
    hops = 0
    while waiting:
        part = waiting.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            at = at.rpartition(b"/")[0]
            continue
        below = join(at, part)
        if below in directories:
            at = below
            continue
        dirent = directories[at].get(part)
        if dirent is not None and stat.S_ISLNK(dirent.mode):
            hops += 1
            if hops > _SYMLINK_HOPS:
                return None
            if dirent.target.startswith(b"/"):
                at = b""
            waiting += dirent.target.split(b"/")[::-1]
            continue
        if missing is None:
            return None
        if len(below) > _PATH_LENGTH:
            raise ImageRejected(f"a layer has too deep a path: {printable(below)}")
        directories[at][part] = IMPLIED
        directories[below] = {}
        missing.add(below)
        at = below
    return at
