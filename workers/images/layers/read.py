"""One layer, read from its compressed stream: a tree, and its files in a sink.

Nothing is ever unpacked, so a hostile layer has nothing to escape into; and nothing of
it is believed: what it may take is counted as it comes.

Read first: https://github.com/opencontainers/image-spec/blob/main/layer.md.
"""

from collections import deque

from workers.images.layers.budget import Budget
from workers.images.layers.builder import LayerBuilder
from workers.images.layers.content import ContentPool, ContentWriter
from workers.images.layers.layer_tree import LayerTree
from workers.images.layers.names import WHITEOUT, split_name
from workers.images.tar.decompress import LayerStream
from workers.images.tar.exact_reader import ByteStream
from workers.images.tar.reader import REGULAR, Member, TarReader

# So many members wait for their content to be stored before the reader waits for it;
# far more than the files that the pool lets wait, so that it hardly ever has to.
_MEMBERS_WAITING = 4096

# Of a large image, each of the layers that are read at the same time keeps so many
# entries unpacked.
_FEW_LOOSE = 1 << 13


def read_layer(blob: ByteStream, pool: ContentPool, budget: Budget) -> LayerTree:
    """Read a compressed layer to its end and store the content of its files.

    Args:
        blob: the compressed layer; whoever opened it verifies its digest.
        pool: stores the content while the layer is being read.
        budget: what is left of the image's limits, shared by its layers.

    Raises:
        ImageRejected: a name that leaves the root, or a limit is exceeded.
        DamagedTar, DamagedLayer, CutShort: nothing can read this layer.
    """
    stream = LayerStream(blob, budget.spend_stream)
    reader = TarReader(stream)
    writer = ContentWriter(pool)
    builder = LayerBuilder(budget)
    waiting: deque[tuple[bytes, bytes, Member, bool]] = deque()

    def build(leave: int) -> None:
        while len(waiting) > leave:
            parent, name, member, has_content = waiting.popleft()
            content = writer.next_content() if has_content else None
            builder.add(parent, name, member, content)

    size = entries = 0
    is_saving = False
    for member in reader:
        budget.spend_file(member.size, _metadata_size(member))
        parent, name = split_name(member.name)
        has_content = member.kind == REGULAR and not name.startswith(WHITEOUT)
        if has_content:
            size += member.size
            if member.size <= pool.sink.piece_size:
                writer.add(reader.read_content(member))
            else:
                writer.add_pieces(reader.pieces(member, pool.sink.piece_size))
        entries += 1
        waiting.append((parent, name, member, has_content))
        if len(waiting) > 2 * _MEMBERS_WAITING:
            build(leave=_MEMBERS_WAITING)
            if budget.is_large and not is_saving:
                # Once only: where that is too few, it grows again by itself.
                is_saving = True
                builder.save_memory(_FEW_LOOSE)
    build(leave=0)
    layer = builder.finish()
    layer.diff_id = stream.diff_id
    layer.size = size
    layer.entries = entries
    return layer


def _metadata_size(member: Member) -> int:
    size = len(member.name) + len(member.link)
    if member.xattrs:
        size += sum(len(name) + len(value) for name, value in member.xattrs)
    return size
