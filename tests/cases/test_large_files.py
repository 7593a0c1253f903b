"""Files of more than 4 GiB, where shifter and others have lost the upper bits."""

import stat

from tests.support.jobs import FQRN, Workshop
from workers.cvmfs import Dirent, Tree
from workers.plan import Fence, Plan, TreeAt


def test_a_file_of_more_than_4_gib_has_its_size_and_all_its_pieces(
    shop: Workshop,
) -> None:
    """All its pieces are the same one: what is tested is their number and place."""
    publisher = shop.services.publishers[FQRN]
    length = publisher.sink.piece_size
    count = (5 << 30) // length + 1
    piece = publisher.sink.put_piece(bytes(length), 0)
    pieces = tuple(piece._replace(offset=n * length) for n in range(count))
    content = publisher.sink.join_pieces(pieces)
    entries = {b"large": Dirent(stat.S_IFREG | 0o644, content=content)}
    tree = Tree(Dirent(stat.S_IFDIR | 0o755), {b"": entries})
    plan = Plan("large", (TreeAt(b"/tree", tree, lambda _: None),))
    publisher.publish([plan], Fence(lambda: None))

    written = shop.repository.read().lookup(b"/tree/large")
    assert written is not None
    assert written.content == content
    assert written.content is not None
    assert written.content.size == count * length > 5 << 30
    assert written.content.chunks[-1].offset > 1 << 32
