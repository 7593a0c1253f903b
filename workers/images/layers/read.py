"""One layer, read from its compressed stream: a tree, and its files in a sink.

Nothing is ever unpacked, so a hostile layer has nothing to escape into; and nothing of
it is believed: what it may take is counted as it comes.

Read first: https://github.com/opencontainers/image-spec/blob/main/layer.md.
"""

from collections import deque
from collections.abc import Callable, Iterator

from workers.images.layers.budget import Budget
from workers.images.layers.builder import LayerBuilder
from workers.images.layers.content import ContentPool, ContentWriter
from workers.images.layers.dirents import check_target, own_xattrs
from workers.images.layers.layer_tree import LayerTree
from workers.images.layers.names import LONGEST_PATH, WHITEOUT, join, split_name
from workers.images.layers.steps import Steps
from workers.images.tar.decompress import LayerStream
from workers.images.tar.exact_reader import ByteStream
from workers.images.tar.reader import HARD_LINK, REGULAR, SYMLINK, Member, TarReader

# So many members wait for their content to be stored before the reader waits for it;
# far more than the files that the pool lets wait, so that it hardly ever has to.
_MEMBERS_WAITING = 4096

_LINKS = frozenset({HARD_LINK, SYMLINK})

# So many bytes of their names, links and attributes do.
_BYTES_WAITING = 1 << 22

# Of a large image, each of the layers that are read at the same time keeps so many
# entries unpacked.
_FEW_LOOSE = 1 << 13


def read_layer(
    blob: ByteStream, pool: ContentPool, budget: Budget, steps: Steps | None = None
) -> LayerTree:
    """Read a compressed layer to its end and store the content of its files.

    Args:
        blob: the compressed layer; whoever opened it verifies its digest.
        pool: stores the content while the layer is being read.
        budget: what is left of the image's limits, shared by its layers. It is asked
            whether to go on for each mebibyte of the tar, each piece of a file or its
            holes, and every few thousand steps of finding paths.
        steps: counts what finding paths costs.

    Raises:
        ImageRejected: no file system could take it, or a limit is exceeded.
        DamagedTar, DamagedLayer, CutShort: nothing can read this layer.
    """
    budget = budget.of_layer()
    builder = LayerBuilder(budget, steps or Steps(budget.still_wanted))
    with LayerStream(blob, budget.spend_stream) as stream:
        size, entries = _read(stream, pool, budget, builder)
        layer = builder.finish()
        layer.diff_id = stream.diff_id
    layer.size = size
    layer.entries = entries
    layer.metadata = budget.metadata
    return layer


def _read(
    stream: LayerStream, pool: ContentPool, budget: Budget, builder: LayerBuilder
) -> tuple[int, int]:
    """Give all members to the builder; return bytes of content and their number."""
    reader = TarReader(stream, budget.spend_header)
    writer = ContentWriter(pool)
    waiting: deque[tuple[bytes, bytes, Member, bool]] = deque()

    def build(leave: int) -> None:
        builder.expect(len(waiting) - leave)
        while len(waiting) > leave:
            parent, name, member, has_content = waiting.popleft()
            content = writer.next_content() if has_content else None
            builder.add(parent, name, member, content)

    size = entries = bytes_waiting = 0
    is_saving = False
    for member in reader:
        parent, name = split_name(member.name)
        budget.spend_file(member.size, len(name) + len(member.link))
        kept = member
        if (
            member.link
            or member.xattrs
            or member.kind in _LINKS
            or member.extents is not None
            or len(member.name) > LONGEST_PATH
        ):
            kept = _kept(parent, name, member, budget)
        has_content = member.kind == REGULAR and not name.startswith(WHITEOUT)
        if has_content:
            size += member.size
            if member.size <= pool.sink.piece_size:
                writer.add(reader.read_content(member))
            else:
                pieces = reader.pieces(member, pool.sink.piece_size)
                writer.add_pieces(_asking(pieces, budget.still_wanted))
        entries += 1
        waiting.append((parent, name, kept, has_content))
        bytes_waiting += 2 * len(kept.name) + len(kept.link)
        if kept.xattrs:
            bytes_waiting += _xattrs_size(kept)
        if len(waiting) > 2 * _MEMBERS_WAITING or bytes_waiting > _BYTES_WAITING:
            build(leave=_MEMBERS_WAITING if bytes_waiting <= _BYTES_WAITING else 0)
            bytes_waiting = 0
            if budget.is_large and not is_saving:
                # Once only: where that is too few, it grows again by itself.
                is_saving = True
                builder.save_memory(_FEW_LOOSE)
    build(leave=0)
    return size, entries


def _asking(
    pieces: Iterator[bytes], still_wanted: Callable[[], None]
) -> Iterator[bytes]:
    """Yield the pieces of a file, holes among them, as long as they are wanted."""
    for piece in pieces:
        still_wanted()
        yield piece


def _kept(parent: bytes, name: bytes, member: Member, budget: Budget) -> Member:
    """Return what is kept of a member until it is built, paid for and checked.

    It says nothing of where the data of a sparse file lies, which only its reader has
    to know, and its names are no longer than paths may be, however they were written.
    """
    if member.extents is not None:
        budget.spend_extents(member.extents.stated)
        member = member._replace(extents=None)
    if member.xattrs:
        member = member._replace(xattrs=own_xattrs(member))
        budget.spend_xattrs(len(member.xattrs), _xattrs_size(member))
    check_target(member)
    if member.kind == HARD_LINK:
        member = member._replace(link=join(*split_name(member.link)))
    elif member.link and member.kind != SYMLINK:
        member = member._replace(link=b"")
    if len(member.name) > LONGEST_PATH:
        member = member._replace(name=join(parent, name))
    return member


def _xattrs_size(member: Member) -> int:
    return sum(len(name) + len(value) for name, value in member.xattrs)
