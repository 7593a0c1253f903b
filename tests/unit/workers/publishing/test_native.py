"""The native publisher: plans into revisions, and errors into ours."""

import fcntl
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.support.harness.native_publisher import (
    NativeParts,
    open_alone,
    open_together,
)
from tests.support.harness.publisher_parts import (
    GO_ON,
    TOKEN,
    accept,
    publish_steps,
    store_tree,
)
from tests.support.harness.redis_server import RedisServer
from tests.support.repositories.repository_builders import FQRN, keys, save_keys
from workers.cvmfs import Dirent, LocalStorage, Repository
from workers.publishing.native import NativePublisher
from workers.publishing.plan import FileAt, Plan, Step, TreeAt
from workers.publishing.publisher import (
    Fence,
    PublicationFailed,
    RepositoryUnavailable,
    publish,
)

LOCK = "data/txn/publish.lock"


@pytest.fixture(params=[open_alone, open_together])
def parts(
    tmp_path: Path, redis_server: RedisServer, request: pytest.FixtureRequest
) -> Iterator[NativeParts]:
    with request.param(tmp_path, redis_server) as opened:
        yield opened


def test_a_publication_may_be_stopped_right_before_it_is_visible(
    parts: NativeParts,
) -> None:
    class Overtaken(Exception):
        pass

    def stop() -> None:
        with pytest.raises(BlockingIOError), (parts.root / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise Overtaken

    before = parts.publisher.published().revision
    with pytest.raises(Overtaken):
        publish(
            parts.publisher,
            [Plan("reference", (FileAt(b"/a", b""),))],
            Fence(stop, TOKEN),
        )
    assert parts.publisher.published().revision == before
    publish_steps(parts, FileAt(b"/a", b""))


def test_what_the_format_cannot_hold_is_told(parts: NativeParts) -> None:
    image = store_tree(parts)
    content = parts.publisher.sink.put_bytes(b"theirs")
    theirs = Dirent(stat.S_IFREG, content=content)
    image.directories.put(b"", b".cvmfscatalog", theirs)
    plan = Plan("reference", (TreeAt(b"/image", image, accept),))
    publication = publish(parts.publisher, [plan], GO_ON)
    assert publication.losses == ("1 reserved name .cvmfscatalog",)


# What goes wrong.


def test_a_step_that_it_does_not_know_is_refused(parts: NativeParts) -> None:
    publish_steps(parts, FileAt(b"/a", b""))
    unknown = cast("Step", SimpleNamespace(path=b"/a"))
    with pytest.raises(AssertionError, match="namespace"):
        publish_steps(parts, unknown)
    assert parts.publisher.published().lookup(b"/a") is not None


def test_a_repository_is_opened_when_it_is_needed_and_not_before(
    parts: NativeParts,
) -> None:
    opened = []

    def open_it() -> Repository:
        opened.append(1)
        return parts.open()

    publisher = NativePublisher(FQRN, open_it)
    assert not opened
    assert publisher.published().revision == 1
    assert publisher.published().lookup(b"") is not None
    assert opened == [1]


def test_one_that_could_not_be_opened_is_opened_the_next_time(
    parts: NativeParts,
) -> None:
    aside = parts.keys.with_name("aside")
    parts.keys.rename(aside)
    publisher = parts.new_publisher()
    with pytest.raises(RepositoryUnavailable, match=f"{FQRN}: .*restore the files"):
        publisher.published()
    aside.rename(parts.keys)
    assert publisher.published().revision == 1


def test_a_repository_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    save_keys(keys(), tmp_path / "keys")
    storage = LocalStorage(tmp_path / "storage")
    publisher = NativePublisher(
        FQRN, lambda: Repository.open(FQRN, storage, tmp_path / "keys")
    )
    with pytest.raises(RepositoryUnavailable, match="`repository init`"):
        publisher.published().lookup(b"/x")


def test_a_repository_that_others_commit_to_is_tried_again(parts: NativeParts) -> None:
    other = LocalStorage(parts.root)
    with other.lock(), pytest.raises(RepositoryUnavailable, match="lock"):
        publish_steps(parts, FileAt(b"/a", b""))
    publish_steps(parts, FileAt(b"/a", b""))


def test_an_expired_whitelist_names_the_command_that_mends_it(
    parts: NativeParts,
) -> None:
    parts.write_whitelist(int(time.time()) - 40 * 24 * 3600)
    with pytest.raises(RepositoryUnavailable, match=f"`repository resign {FQRN}`"):
        publish_steps(parts, FileAt(b"/a", b""))
    # What is published is read all the same.
    assert parts.publisher.published().lookup(b"") is not None
    parts.open().renew_whitelist(now=int(time.time()))
    publish_steps(parts, FileAt(b"/a", b""))


def test_a_storage_that_refuses_is_tried_again(parts: NativeParts) -> None:
    for shard in (parts.root / "data").glob("[0-9a-f][0-9a-f]"):
        shard.rename(shard.with_name(f"{shard.name}-aside"))
    with pytest.raises(RepositoryUnavailable, match="data/"):
        parts.publisher.sink.put_bytes(b"content")
    with pytest.raises(RepositoryUnavailable, match="data/"):
        parts.publisher.sink.put_piece(b"content", 0)


def test_a_damaged_repository_is_no_passing_thing(parts: NativeParts) -> None:
    for catalog in (parts.root / "data").glob("*/*C"):
        catalog.write_bytes(b"damaged")
    with pytest.raises(PublicationFailed, match=FQRN):
        parts.publisher.published().lookup(b"/x")
