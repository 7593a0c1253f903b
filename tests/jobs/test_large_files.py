"""Files of more than 4 GiB, where shifter and others have lost the upper bits.

And images of tens of gigabytes, of which overlaybd had more than it could address.
"""

import stat

from tests.support.harness.jobs import FQRN, JobRunner
from tests.support.images import tars
from workers.care.repository import check_repository
from workers.cvmfs import Content, Dirent, Tree
from workers.formats.paths import flat_path
from workers.publishing.plan import Plan, TreeAt
from workers.publishing.publisher import Fence, publish

FOUR_GIB = 1 << 32


def large_content(runner: JobRunner) -> Content:
    """Return the content of a file of more than 5 GiB; all its pieces are one."""
    publisher = runner.services.publishers[FQRN]
    length = publisher.sink.piece_size
    piece = publisher.sink.put_piece(bytes(length), 0)
    count = (5 << 30) // length + 1
    pieces = tuple(piece._replace(offset=n * length) for n in range(count))
    return publisher.sink.join_pieces(pieces)


def publish_files(runner: JobRunner, *names: bytes) -> Content:
    """Publish a tree of files that all have the same large content."""
    content = large_content(runner)
    file = Dirent(stat.S_IFREG | 0o644, content=content)
    tree = Tree(Dirent(stat.S_IFDIR | 0o755), {b"": dict.fromkeys(names, file)})
    plan = Plan("large", (TreeAt(b"/tree", tree, lambda _: None),))
    publish(runner.services.publishers[FQRN], [plan], Fence(lambda: None))
    return content


def test_a_file_of_more_than_4_gib_has_its_size_and_all_its_pieces(
    runner: JobRunner,
) -> None:
    """All its pieces are the same one: what is tested is their number and place."""
    content = publish_files(runner, b"large")
    written = runner.repository.read().lookup(b"/tree/large")
    assert written is not None
    assert written.content == content
    assert written.content is not None
    assert written.content.size > 5 << 30
    assert written.content.chunks[-1].offset > FOUR_GIB


def test_an_image_of_more_than_48_gb_is_counted_in_full(runner: JobRunner) -> None:
    names = [b"%d" % n for n in range(10)]
    content = publish_files(runner, *names)
    config = runner.services.config
    found = check_repository(config, FQRN, contents=False, tell=lambda _: None)
    assert list(found) == []
    totals = runner.repository.read().root_catalog.statistics.total
    assert totals.file_size == totals.chunked_size == 10 * content.size > 48 * 10**9
    assert totals.chunks == 10 * len(content.chunks)


def test_a_layer_with_a_file_of_more_than_4_gib_is_published_to_its_last_byte(
    runner: JobRunner,
) -> None:
    """Most of it is a hole, so that the layer is small; all the rest is real."""
    size = FOUR_GIB + 7
    extents = [(0, b"start"), (size - 3, b"end")]
    layer = tars.tar(tars.pax_sparse(b"large", size, extents, "1.0"))
    image = runner.registry.push_image("atlas/large", "v1", [layer])
    runner.publish("atlas/large:v1")
    snapshot = runner.repository.read()
    written = snapshot.lookup(flat_path(image.config_digest) + b"/large")
    assert written is not None
    assert written.content is not None
    assert written.content.size == size
    last = written.content.chunks[-1]
    assert last.offset + last.size == size
    alone = written.content._replace(size=last.size, chunks=(last._replace(offset=0),))
    assert snapshot.read(written._replace(content=alone)).endswith(b"\0end")
