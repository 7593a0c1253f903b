"""What every publisher keeps, asked through the publisher alone."""

import json
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.support.harness.native_publisher import open_alone, open_together
from tests.support.harness.publisher_parts import (
    GO_ON,
    ROOT,
    TOKEN,
    PublisherParts,
    accept,
    publish_steps,
    store_tree,
)
from tests.support.harness.redis_server import RedisServer
from tests.support.repositories.drawn_trees import trees
from tests.support.repositories.repository_builders import FQRN
from workers.cvmfs import Dirent, StreamedTree, Tree
from workers.formats.documents import read_document
from workers.publishing.plan import (
    ContentAt,
    FileAt,
    LinkAt,
    Plan,
    RecordsAt,
    RemoveAt,
    RequireAt,
    Step,
    TreeAt,
)
from workers.publishing.publisher import (
    Fence,
    Prepared,
    PublicationFailed,
    Publisher,
    RepositoryUnavailable,
    publish,
)
from workers.wiring import PUBLISHERS

OpenParts = Callable[[Path, RedisServer], AbstractContextManager[PublisherParts]]
PARTS: Sequence[tuple[str, OpenParts]] = (
    ("native", open_alone),
    ("native", open_together),
)


@pytest.fixture(params=PARTS, ids=lambda entry: f"{entry[0]}-{entry[1].__name__}")
def parts(
    tmp_path: Path, redis_server: RedisServer, request: pytest.FixtureRequest
) -> Iterator[PublisherParts]:
    _, open_parts = request.param
    with open_parts(tmp_path, redis_server) as opened:
        yield opened


def test_every_kind_of_publisher_is_asked() -> None:
    assert {kind for kind, _ in PARTS} == PUBLISHERS.keys()


def test_a_plan_is_visible_as_a_whole_in_one_revision(parts: PublisherParts) -> None:
    before = parts.publisher.published().revision
    image = store_tree(parts, file=b"content")
    revision = publish_steps(
        parts,
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


def test_later_steps_see_earlier_ones(parts: PublisherParts) -> None:
    publish_steps(
        parts,
        FileAt(b"/a", b"1"),
        FileAt(b"/a", b"2"),
        FileAt(b"/b", b"3"),
        RemoveAt(b"/b"),
    )
    assert read_document(parts.publisher.published(), b"/a") == b"2"
    assert parts.publisher.published().lookup(b"/b") is None


def test_what_is_not_there_is_not_there(parts: PublisherParts) -> None:
    assert read_document(parts.publisher.published(), b"/nothing") is None
    assert parts.publisher.published().lookup(b"/nothing/at/all") is None
    assert parts.publisher.published().lookup(b"") is not None
    assert read_document(parts.publisher.published(), b"") is None


def test_publishing_twice_is_publishing_once(parts: PublisherParts) -> None:
    steps = (TreeAt(b"/image", store_tree(parts, a=b"1"), accept), FileAt(b"/a", b"1"))
    assert publish_steps(parts, *steps) == publish_steps(parts, *steps)


def test_nothing_of_a_plan_is_visible_when_one_step_fails(
    parts: PublisherParts,
) -> None:
    publish_steps(parts, FileAt(b"/file", b""))
    before = parts.publisher.published().revision
    with pytest.raises(PublicationFailed):
        publish_steps(parts, FileAt(b"/new", b""), FileAt(b"relative", b""))
    assert parts.publisher.published().revision == before
    assert parts.publisher.published().lookup(b"/new") is None


def test_what_does_not_verify_is_not_visible(parts: PublisherParts) -> None:
    class Mismatch(Exception):
        pass

    seen = []

    def refuse(written: StreamedTree) -> None:
        seen.append(set(dict(written.directories)[b""]))
        raise Mismatch

    before = parts.publisher.published().revision
    with pytest.raises(Mismatch):
        publish_steps(parts, TreeAt(b"/image", store_tree(parts, name=b"data"), refuse))
    assert seen == [{b"name"}]
    assert parts.publisher.published().revision == before


def test_a_large_file_is_stored_in_pieces(parts: PublisherParts) -> None:
    sink = parts.publisher.sink
    pieces = [b"a" * 1000, b"b" * 1000, b"c"]
    stored = tuple(
        sink.put_piece(piece, offset)
        for piece, offset in zip(pieces, (0, 1000, 2000), strict=True)
    )
    content = sink.join_pieces(stored)
    assert content.size == 2001
    image = Tree(ROOT, {b"": {b"f": Dirent(stat.S_IFREG | 0o644, content=content)}})
    publish_steps(parts, TreeAt(b"/image", image, accept))
    assert read_document(parts.publisher.published(), b"/image/f") == b"".join(pieces)


def test_a_fence_that_is_down_leaves_all_as_it_was(parts: PublisherParts) -> None:
    class FenceIsDown(Exception):
        pass

    def refuse() -> None:
        raise FenceIsDown

    before = parts.publisher.published().revision
    with pytest.raises(FenceIsDown):
        publish(parts.publisher, [plan(FileAt(b"/a", b"1"))], Fence(refuse, TOKEN))
    assert parts.publisher.published().revision == before
    assert parts.publisher.published().lookup(b"/a") is None
    publish_steps(parts, FileAt(b"/a", b"1"))


def test_a_fence_is_asked_after_all_is_verified(parts: PublisherParts) -> None:
    asked: list[str] = []
    step = TreeAt(b"/t", store_tree(parts, f=b"1"), lambda _: asked.append("verified"))
    fence = Fence(lambda: asked.append("fence"), TOKEN)
    prepared = parts.publisher.prepare(plan(step))
    assert asked == ["verified"]
    assert parts.publisher.published().lookup(b"/t") is None
    parts.publisher.commit([prepared], fence)
    assert asked[:2] == ["verified", "fence"]


def test_what_is_prepared_is_invisible_until_it_is_committed(
    parts: PublisherParts,
) -> None:
    first = parts.publisher.prepare(plan(FileAt(b"/a", b"1")))
    second = parts.publisher.prepare(plan(FileAt(b"/b", b"2")))
    assert parts.publisher.published().lookup(b"/a") is None
    publication = parts.publisher.commit([first, second], GO_ON)
    tree = parts.publisher.published()
    assert read_document(tree, b"/a") == b"1"
    assert read_document(tree, b"/b") == b"2"
    assert publication.revision == tree.revision


def test_all_plans_or_none(parts: PublisherParts) -> None:
    plans = [plan(FileAt(b"/good", b"")), plan(RequireAt(b"/missing"))]
    with pytest.raises((RepositoryUnavailable, PublicationFailed)):
        publish(parts.publisher, plans, GO_ON)
    assert parts.publisher.published().lookup(b"/good") is None


def test_nothing_is_published_where_something_required_is_missing(
    parts: PublisherParts,
) -> None:
    with pytest.raises((RepositoryUnavailable, PublicationFailed), match="/missing"):
        publish_steps(parts, RequireAt(b"/missing"), FileAt(b"/a", b""))
    assert parts.publisher.published().lookup(b"/a") is None
    publish_steps(parts, FileAt(b"/missing", b""))
    publish_steps(parts, RequireAt(b"/missing"), FileAt(b"/a", b""))
    assert parts.publisher.published().lookup(b"/a") is not None


LIST = b"/list.json"
KINDS = ("file", "link", "tree", "content")


def step_of(parts: PublisherParts, kind: str, mark: bytes) -> Step:
    if kind == "file":
        return FileAt(b"/place", mark)
    if kind == "link":
        return LinkAt(b"/place", mark)
    if kind == "content":
        return ContentAt(b"/place", parts.publisher.sink.put_bytes(mark))
    return TreeAt(b"/place", store_tree(parts, **{mark.decode(): mark}), accept)


@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("first", KINDS)
def test_a_step_replaces_whatever_was_there(
    parts: PublisherParts, first: str, second: str
) -> None:
    publish_steps(parts, step_of(parts, first, b"first"))
    publish_steps(parts, step_of(parts, second, b"second"))
    tree = parts.publisher.published()
    entry = tree.lookup(b"/place")
    assert entry is not None
    if second == "link":
        assert entry.target == b"second"
    elif second == "tree":
        assert set(tree.tree(b"/place").directories[b""]) == {b"second"}
    else:
        assert tree.read(entry) == b"second"
    assert tree.lookup(b"/place/first") is None


def test_what_is_removed_is_gone_with_all_below_it(parts: PublisherParts) -> None:
    publish_steps(
        parts, TreeAt(b"/a/tree", store_tree(parts, f=b"1"), accept), FileAt(b"/b", b"")
    )
    publish_steps(parts, RemoveAt(b"/a/tree"), RemoveAt(b"/b"))
    tree = parts.publisher.published()
    assert tree.lookup(b"/a/tree/f") is tree.lookup(b"/a/tree") is None
    assert tree.lookup(b"/b") is None
    assert publish_steps(parts, RemoveAt(b"/nothing")) == tree.revision


def test_records_of_others_stay(parts: PublisherParts) -> None:
    def put(*records: str, names: tuple[str, ...] = ()) -> None:
        publish_steps(parts, RecordsAt(LIST, records, names))

    put('{"id": "a", "names": ["x"]}')
    put('{"id": "b", "names": ["y"]}')
    put('{"id": "c", "names": ["x"]}', names=("x",))
    listed = json.loads(
        read_document(parts.publisher.published(), b"/list.json") or b""
    )
    assert {each["id"]: each.get("names") or [] for each in listed} == {
        "a": [],
        "b": ["y"],
        "c": ["x"],
    }


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(tree=trees())
def test_a_tree_is_read_back_as_it_was_given(parts: PublisherParts, tree: Tree) -> None:
    seen: list[Tree] = []

    def keep(written: StreamedTree) -> None:
        seen.append(Tree(written.root, dict(written.directories)))

    publication = publish(parts.publisher, [plan(TreeAt(b"/image", tree, keep))], GO_ON)
    read = parts.publisher.published().tree(b"/image")
    assert [read] == seen
    if not publication.losses:
        assert read.directories.keys() == tree.directories.keys()
    for loss in publication.losses:
        assert loss.isprintable()


def test_overlay_marks_arrive_where_the_publisher_says_so(
    parts: PublisherParts,
) -> None:
    whiteout = Dirent(stat.S_IFCHR)
    opaque = Dirent(stat.S_IFDIR | 0o755, xattrs=((b"trusted.overlay.opaque", b"y"),))
    marked = Tree(ROOT, {b"": {b"gone": whiteout, b"d": opaque}, b"d": {}})
    publish_steps(parts, TreeAt(b"/layer", marked, accept))
    read = parts.publisher.published().tree(b"/layer").directories[b""]
    assert parts.publisher.holds_whiteouts is (read == marked.directories[b""])


def test_content_that_was_stored_is_read_before_it_is_published(
    parts: PublisherParts,
) -> None:
    sink = parts.publisher.sink
    whole = sink.put_bytes(b"whole")
    assert b"".join(sink.pieces(whole)) == b"whole"
    pieces = (sink.put_piece(b"a" * 9, 0), sink.put_piece(b"b", 9))
    assert b"".join(sink.pieces(sink.join_pieces(pieces))) == b"a" * 9 + b"b"


def test_storing_twice_is_storing_once_from_any_thread(parts: PublisherParts) -> None:
    sink = parts.publisher.sink
    with ThreadPoolExecutor(8) as executor:
        stored = set(executor.map(sink.put_bytes, [b"the same"] * 32))
    assert len(stored) == 1


def test_two_publishers_take_turns(parts: PublisherParts) -> None:
    def work(name: str) -> list[tuple[bytes, int]]:
        publisher = parts.new_publisher()
        done = []
        for number in range(5):
            path = f"/{name}{number}".encode()
            fence = Fence(lambda: None)
            for _ in range(200):
                try:
                    publication = publish(publisher, [plan(FileAt(path, b""))], fence)
                except RepositoryUnavailable:
                    time.sleep(0.01)  # the other one commits
                else:
                    done.append((path, publication.revision))
                    break
        return done

    with ThreadPoolExecutor(2) as executor:
        done = [one for each in executor.map(work, ["a", "b"]) for one in each]
    assert len(done) == 10
    tree = parts.publisher.published()
    assert all(tree.lookup(path) is not None for path, _ in done)
    for half in (done[:5], done[5:]):
        revisions = [revision for _, revision in half]
        assert revisions == sorted(set(revisions))


def test_a_publication_names_what_readers_see(parts: PublisherParts) -> None:
    publication = publish(parts.publisher, [plan(FileAt(b"/a", b""))], GO_ON)
    assert publication.repository == FQRN
    assert publication.revision == parts.publisher.published().revision
    assert publication.losses == ()


def test_only_our_two_errors_come_out(parts: PublisherParts) -> None:
    parts.put_out_of_reach()
    fresh = parts.new_publisher()
    for ask in (fresh.published, lambda: fresh.prepare(plan(FileAt(b"/a", b"x")))):
        with pytest.raises((RepositoryUnavailable, PublicationFailed)) as caught:
            ask()
        assert str(caught.value).startswith(FQRN)
        assert "\n" not in str(caught.value)


def test_what_another_publisher_has_prepared_is_not_committed(
    parts: PublisherParts,
) -> None:
    class Foreign:
        losses = ()

    with pytest.raises(TypeError, match="another publisher"):
        parts.publisher.commit([Foreign()], GO_ON)


def plan(*steps: Step) -> Plan:
    return Plan("reference", steps)


def test_a_run_that_failed_takes_back_what_no_other_needs(
    parts: PublisherParts,
) -> None:
    failing, other = parts.new_publisher(), parts.new_publisher()

    def prepared(publisher: Publisher, path: bytes, *names: bytes) -> Prepared:
        put = publisher.sink.put_bytes
        files = {
            name: Dirent(stat.S_IFREG | 0o644, content=put(b"content of " + name))
            for name in names
        }
        step = TreeAt(path, Tree(ROOT, {b"": files}), accept)
        return publisher.prepare(Plan("reference", (step,)))

    prepared(failing, b"/failing", b"both", b"own")
    plan = prepared(other, b"/other", b"both", b"other's")
    failing.discard()
    other.commit([plan], GO_ON)
    other.discard()
    tree = parts.publisher.published()
    for name in (b"both", b"other's"):
        dirent = tree.lookup(b"/other/" + name)
        assert dirent is not None
        assert tree.read(dirent) == b"content of " + name
    # What was prepared is gone; the same publisher begins again.
    failing.commit([prepared(failing, b"/failing", b"both", b"own")], GO_ON)
