"""What every publisher keeps, asked through the publisher alone."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.native_publisher import (
    ROOT,
    NativeParts,
    accept,
    open_native_parts,
)
from tests.support.harness.redis_server import RedisServer
from workers.cvmfs import Dirent, StreamedTree, Tree
from workers.formats.documents import read_document
from workers.publishing.plan import FileAt, LinkAt, RemoveAt, TreeAt
from workers.publishing.publisher import PublicationFailed


@pytest.fixture(params=["alone", "together"])
def parts(
    tmp_path: Path, redis_server: RedisServer, request: pytest.FixtureRequest
) -> Iterator[NativeParts]:
    with open_native_parts(request.param, tmp_path, redis_server) as opened:
        yield opened


def test_a_plan_is_visible_as_a_whole_in_one_revision(parts: NativeParts) -> None:
    before = parts.publisher.published().revision
    image = parts.tree(file=b"content")
    revision = parts.publish(
        TreeAt(b"/image", image, accept),
        FileAt(b"/folder/file", b"data", 0o600),
        LinkAt(b"/link", b"image"),
    )
    assert revision == parts.publisher.published().revision == before + 1
    link = parts.publisher.published().lookup(b"/link")
    assert link is not None
    assert link.target == b"image"
    assert read_document(parts.publisher.published(), b"/folder/file") == b"data"
    assert read_document(parts.publisher.published(), b"/image/file") == b"content"
    written = parts.publisher.published().tree(b"/image")
    dirent = written.directories[b""][b"file"]
    assert parts.publisher.published().read(dirent) == b"content"


def test_later_steps_see_earlier_ones(parts: NativeParts) -> None:
    parts.publish(
        FileAt(b"/a", b"1"),
        FileAt(b"/a", b"2"),
        FileAt(b"/b", b"3"),
        RemoveAt(b"/b"),
    )
    assert read_document(parts.publisher.published(), b"/a") == b"2"
    assert parts.publisher.published().lookup(b"/b") is None


def test_what_is_not_there_is_not_there(parts: NativeParts) -> None:
    assert read_document(parts.publisher.published(), b"/nothing") is None
    assert parts.publisher.published().lookup(b"/nothing/at/all") is None
    assert parts.publisher.published().lookup(b"") is not None
    assert read_document(parts.publisher.published(), b"") is None


def test_publishing_twice_is_publishing_once(parts: NativeParts) -> None:
    steps = (TreeAt(b"/image", parts.tree(a=b"1"), accept), FileAt(b"/a", b"1"))
    assert parts.publish(*steps) == parts.publish(*steps)


def test_nothing_of_a_plan_is_visible_when_one_step_fails(parts: NativeParts) -> None:
    parts.publish(FileAt(b"/file", b""))
    before = parts.publisher.published().revision
    with pytest.raises(PublicationFailed):
        parts.publish(FileAt(b"/new", b""), FileAt(b"relative", b""))
    assert parts.publisher.published().revision == before
    assert parts.publisher.published().lookup(b"/new") is None


def test_what_does_not_verify_is_not_visible(parts: NativeParts) -> None:
    class Mismatch(Exception):
        pass

    seen = []

    def refuse(written: StreamedTree) -> None:
        seen.append(set(dict(written.directories)[b""]))
        raise Mismatch

    before = parts.publisher.published().revision
    with pytest.raises(Mismatch):
        parts.publish(TreeAt(b"/image", parts.tree(name=b"data"), refuse))
    assert seen == [{b"name"}]
    assert parts.publisher.published().revision == before


def test_a_large_file_is_stored_in_pieces(parts: NativeParts) -> None:
    sink = parts.publisher.sink
    pieces = [b"a" * 1000, b"b" * 1000, b"c"]
    stored = tuple(
        sink.put_piece(piece, offset)
        for piece, offset in zip(pieces, (0, 1000, 2000), strict=True)
    )
    content = sink.join_pieces(stored)
    assert content.size == 2001
    image = Tree(ROOT, {b"": {b"f": Dirent(stat.S_IFREG | 0o644, content=content)}})
    parts.publish(TreeAt(b"/image", image, accept))
    assert read_document(parts.publisher.published(), b"/image/f") == b"".join(pieces)
