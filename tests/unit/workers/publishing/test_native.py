"""The native publisher: plans into revisions, and errors into ours."""

import fcntl
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.redis_server import RedisServer
from tests.support.repositories.repository_builders import FQRN, keys
from workers.cvmfs import Dirent, LocalStorage, Repository, StreamedTree, Tree
from workers.cvmfs.signing.whitelist import fingerprint, write_whitelist
from workers.cvmfs.storage.storage import WHITELIST
from workers.ledger import Lease, Ledger
from workers.publishing.group import ReadyQueue
from workers.publishing.native import NativePublisher
from workers.publishing.plan import (
    Fence,
    FileAt,
    LinkAt,
    Plan,
    PublicationFailed,
    RemoveAt,
    RepositoryUnavailable,
    Step,
    TreeAt,
)
from workers.publishing.ready_queue import ReadyBatches, fence_token

ROOT = Dirent(stat.S_IFDIR | 0o755)
LOCK = "data/txn/publish.lock"


class Bench:
    """A repository in a folder, its keys, and a publisher to it."""

    def __init__(self, folder: Path, queue: ReadyQueue | None) -> None:
        self.root, self.keys = folder / "storage", folder / "keys"
        self.queue = queue
        keys().save(self.keys)
        self.storage = LocalStorage(self.root, patience_seconds=0)
        now = int(time.time())
        Repository.create(FQRN, self.storage, keys(), now=now)
        self.publisher = self.new_publisher()

    def new_publisher(self) -> NativePublisher:
        return NativePublisher(FQRN, self.open, self.queue)

    def open(self) -> Repository:
        return Repository.open(FQRN, self.storage, self.keys)

    def publish(self, *steps: Step) -> int:
        return self.publisher.publish([Plan("reference", steps)], GO_ON).revision

    def write_whitelist(self, now: int) -> None:
        master_key = keys().master_key
        assert master_key is not None
        names = [fingerprint(keys().certificate)]
        data = write_whitelist(FQRN, names, master_key, now=now)
        self.storage.replace(WHITELIST, data)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(params=["alone", "together"])
def bench(
    tmp_path: Path, server: RedisServer, request: pytest.FixtureRequest
) -> Iterator[Bench]:
    """Give a publisher that commits for itself, and one that looks for others."""
    if request.param == "alone":
        yield Bench(tmp_path, None)
        return
    with server.client() as connection:
        connection.flushall()
        ledger = Ledger(connection)
        yield Bench(
            tmp_path, ReadyBatches(connection, ledger, FQRN, patience_seconds=0)
        )


def tree(bench: Bench, **files: bytes) -> Tree:
    put = bench.publisher.sink.put_bytes
    entries = {
        name.encode(): Dirent(stat.S_IFREG | 0o644, content=put(data))
        for name, data in files.items()
    }
    return Tree(ROOT, {b"": entries})


def accept(_written: StreamedTree) -> None:
    """Verify nothing."""


TOKEN = fence_token(Lease("reference", "token", 1, 1, 0, hint=None, forced=False))
GO_ON = Fence(lambda: None, TOKEN)
"""Lets the publication happen."""


def test_a_plan_is_visible_as_a_whole_in_one_revision(bench: Bench) -> None:
    before = bench.publisher.revision()
    image = tree(bench, file=b"content")
    revision = bench.publish(
        TreeAt(b"/image", image, accept),
        FileAt(b"/folder/file", b"data", 0o600),
        LinkAt(b"/link", b"image"),
    )
    assert revision == bench.publisher.revision() == before + 1
    snapshot = bench.open().read()
    link = snapshot.lookup(b"/link")
    assert link is not None
    assert link.target == b"image"
    assert bench.publisher.read(b"/folder/file") == b"data"
    assert bench.publisher.read(b"/image/file") == b"content"
    written = bench.publisher.tree(b"/image")
    assert written is not None
    dirent = written.directories[b""][b"file"]
    assert bench.publisher.content(dirent) == b"content"


def test_later_steps_see_earlier_ones(bench: Bench) -> None:
    bench.publish(
        FileAt(b"/a", b"1"),
        FileAt(b"/a", b"2"),
        FileAt(b"/b", b"3"),
        RemoveAt(b"/b"),
    )
    assert bench.publisher.read(b"/a") == b"2"
    assert not bench.publisher.has(b"/b")


def test_what_is_not_there_is_not_there(bench: Bench) -> None:
    assert bench.publisher.read(b"/nothing") is None
    assert bench.publisher.tree(b"/nothing") is None
    assert not bench.publisher.has(b"/nothing/at/all")
    assert bench.publisher.has(b"")
    assert bench.publisher.read(b"") is None


def test_publishing_twice_is_publishing_once(bench: Bench) -> None:
    steps = (TreeAt(b"/image", tree(bench, a=b"1"), accept), FileAt(b"/a", b"1"))
    assert bench.publish(*steps) == bench.publish(*steps)


def test_nothing_of_a_plan_is_visible_when_one_step_fails(bench: Bench) -> None:
    bench.publish(FileAt(b"/file", b""))
    before = bench.publisher.revision()
    with pytest.raises(PublicationFailed):
        bench.publish(FileAt(b"/new", b""), FileAt(b"relative", b""))
    assert bench.publisher.revision() == before
    assert not bench.publisher.has(b"/new")


def test_what_does_not_verify_is_not_visible(bench: Bench) -> None:
    class Mismatch(Exception):
        pass

    seen = []

    def refuse(written: StreamedTree) -> None:
        seen.append(set(dict(written.directories)[b""]))
        raise Mismatch

    before = bench.publisher.revision()
    with pytest.raises(Mismatch):
        bench.publish(TreeAt(b"/image", tree(bench, name=b"data"), refuse))
    assert seen == [{b"name"}]
    assert bench.publisher.revision() == before


def test_a_publication_may_be_stopped_right_before_it_is_visible(bench: Bench) -> None:
    class Overtaken(Exception):
        pass

    def stop() -> None:
        with pytest.raises(BlockingIOError), (bench.root / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise Overtaken

    before = bench.publisher.revision()
    with pytest.raises(Overtaken):
        bench.publisher.publish(
            [Plan("reference", (FileAt(b"/a", b""),))], Fence(stop, TOKEN)
        )
    assert bench.publisher.revision() == before
    bench.publish(FileAt(b"/a", b""))


def test_what_the_format_cannot_hold_is_told(bench: Bench) -> None:
    image = tree(bench)
    content = bench.publisher.sink.put_bytes(b"theirs")
    theirs = Dirent(stat.S_IFREG, content=content)
    image.directories.put(b"", b".cvmfscatalog", theirs)
    plan = Plan("reference", (TreeAt(b"/image", image, accept),))
    publication = bench.publisher.publish([plan], GO_ON)
    assert publication.losses == ("1 reserved name .cvmfscatalog",)


def test_a_large_file_is_stored_in_pieces(bench: Bench) -> None:
    sink = bench.publisher.sink
    pieces = [b"a" * 1000, b"b" * 1000, b"c"]
    stored = tuple(
        sink.put_piece(piece, offset)
        for piece, offset in zip(pieces, (0, 1000, 2000), strict=True)
    )
    content = sink.join_pieces(stored)
    assert content.size == 2001
    image = Tree(ROOT, {b"": {b"f": Dirent(stat.S_IFREG | 0o644, content=content)}})
    bench.publish(TreeAt(b"/image", image, accept))
    assert bench.publisher.read(b"/image/f") == b"".join(pieces)


# What goes wrong.


def test_a_repository_is_opened_when_it_is_needed_and_not_before(bench: Bench) -> None:
    opened = []

    def open_it() -> Repository:
        opened.append(1)
        return bench.open()

    publisher = NativePublisher(FQRN, open_it)
    assert not opened
    assert publisher.revision() == 1
    assert publisher.has(b"")
    assert opened == [1]


def test_one_that_could_not_be_opened_is_opened_the_next_time(bench: Bench) -> None:
    aside = bench.keys.with_name("aside")
    bench.keys.rename(aside)
    publisher = bench.new_publisher()
    with pytest.raises(RepositoryUnavailable, match=f"{FQRN}: .*restore the files"):
        publisher.revision()
    aside.rename(bench.keys)
    assert publisher.revision() == 1


def test_a_repository_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    keys().save(tmp_path / "keys")
    storage = LocalStorage(tmp_path / "storage")
    publisher = NativePublisher(
        FQRN, lambda: Repository.open(FQRN, storage, tmp_path / "keys")
    )
    with pytest.raises(RepositoryUnavailable, match="`repository init`"):
        publisher.has(b"/x")


def test_a_repository_that_others_commit_to_is_tried_again(bench: Bench) -> None:
    other = LocalStorage(bench.root)
    with other.lock(), pytest.raises(RepositoryUnavailable, match="lock"):
        bench.publish(FileAt(b"/a", b""))
    bench.publish(FileAt(b"/a", b""))


def test_an_expired_whitelist_names_the_command_that_mends_it(bench: Bench) -> None:
    bench.write_whitelist(int(time.time()) - 40 * 24 * 3600)
    with pytest.raises(RepositoryUnavailable, match=f"`repository resign {FQRN}`"):
        bench.publish(FileAt(b"/a", b""))
    assert bench.publisher.has(b"")  # what is published is read all the same
    bench.open().renew_whitelist(now=int(time.time()))
    bench.publish(FileAt(b"/a", b""))


def test_a_storage_that_refuses_is_tried_again(bench: Bench) -> None:
    for shard in (bench.root / "data").glob("[0-9a-f][0-9a-f]"):
        shard.rename(shard.with_name(f"{shard.name}-aside"))
    with pytest.raises(RepositoryUnavailable, match="data/"):
        bench.publisher.sink.put_bytes(b"content")
    with pytest.raises(RepositoryUnavailable, match="data/"):
        bench.publisher.sink.put_piece(b"content", 0)


def test_a_damaged_repository_is_no_passing_thing(bench: Bench) -> None:
    for catalog in (bench.root / "data").glob("*/*C"):
        catalog.write_bytes(b"damaged")
    with pytest.raises(PublicationFailed, match=FQRN):
        bench.publisher.has(b"/x")
