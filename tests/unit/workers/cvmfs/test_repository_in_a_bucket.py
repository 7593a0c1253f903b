"""A repository in a bucket: made, committed to, read, checked, and contended for."""

import itertools
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.repositories.independent_audit import audit
from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    is_mountpoint,
    keys,
    new_repository,
    small_tree,
)
from tests.support.repositories.s3_server import Request, S3Server, s3_server
from workers.cvmfs import (
    FormatError,
    GraftTree,
    PutFile,
    PutLink,
    RemovePath,
    Repository,
    Revision,
    S3Storage,
)
from workers.cvmfs.checking.check import check
from workers.cvmfs.errors import NotFound, RepositoryBusy, RepositoryExists
from workers.cvmfs.storage.bucket_lease import LOCK
from workers.cvmfs.storage.storage import MANIFEST, REFLOG
from workers.cvmfs.values.hash import Kind

pytestmark = pytest.mark.slow

PREFIX = "repositories/test.example.org"
PLACE = b"/.flat/ab/abcdef"
FIRST = b"/.flat/ab/first"


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


def storage_on(server: S3Server, patience_seconds: float = 60) -> S3Storage:
    return S3Storage(
        server.access(PREFIX),
        patience_seconds=patience_seconds,
        lease_seconds=0.3,
        retry_seconds=0,
    )


def repository_on(server: S3Server) -> Repository:
    return Repository(FQRN, storage_on(server), keys(), is_mountpoint=is_mountpoint)


def with_first_image(server: S3Server) -> None:
    repository = new_repository(Path(), storage_on(server))
    prepared = repository.prepare(FIRST, small_tree(repository.sink, b"first"))
    repository.commit([GraftTree(FIRST, prepared)], now=NOW)


def publish(repository: Repository) -> Revision:
    prepared = repository.prepare(PLACE, small_tree(repository.sink, b"second"))
    content = repository.sink.put_bytes(b"metadata")
    return repository.commit(
        [
            GraftTree(PLACE, prepared),
            PutLink(b"/registry/group/image:tag", b"../../.flat/ab/abcdef"),
            PutFile(b"/plain/metadata", content),
            RemovePath(FIRST),
        ],
        now=NOW + 10,
    )


def contents(server: S3Server) -> Mapping[bytes, bytes]:
    """Read every byte of the current revision."""
    snapshot = repository_on(server).read()
    return {
        path: snapshot.read(dirent) if dirent.content else b""
        for path, dirent in snapshot.walk()
    }


def findings(server: S3Server) -> list[object]:
    public = [keys().public_key]
    found = check(storage_on(server), FQRN, public, now=NOW, contents=True)
    with closing(found):
        return list(found)


def key(path: str) -> str:
    return f"{PREFIX}/{path}"


def test_a_repository_in_a_bucket_is_like_one_in_a_folder(
    server: S3Server, tmp_path: Path
) -> None:
    with_first_image(server)
    assert publish(repository_on(server)).number == 3
    server.save(PREFIX, tmp_path)
    found = audit(tmp_path)
    assert found.contents[PLACE + b"/hello"] == b"second"
    assert found.fields["S"] == "3"
    assert contents(server)[PLACE + b"/hello"] == b"second"
    assert findings(server) == []
    assert not publish(repository_on(server)).is_new


def test_a_repository_is_made_once(server: S3Server) -> None:
    with pytest.raises(NotFound):
        repository_on(server).head()
    new_repository(Path(), storage_on(server))
    before = server.objects[key(MANIFEST)]
    with pytest.raises(RepositoryExists):
        new_repository(Path(), storage_on(server))
    assert server.objects[key(MANIFEST)] == before


def test_catalogs_beside_each_other_are_opened_at_once(server: S3Server) -> None:
    repository = new_repository(Path(), storage_on(server))
    names = (b"/.flat/ab/link", b"/.flat/cd/link", b"/registry/group/link")
    links = [PutLink(name, b"first") for name in names]
    repository.commit(links, now=NOW)
    beside = {
        key(one.hash.path(Kind.CATALOG))
        for one in repository.read().catalogs()
        if one.path.count(b"/") == 2
    }
    assert len(beside) == 3
    all_asked = threading.Event()

    def hold(request: Request) -> None:
        if request.method == "GET" and request.key in beside:
            if server.in_flight == len(beside):
                all_asked.set()
            all_asked.wait(60)

    server.refuse = hold
    repository.commit([PutLink(name, b"second") for name in names], now=NOW)
    assert all_asked.is_set()


def test_nothing_of_a_bucket_is_listed(server: S3Server) -> None:
    with_first_image(server)
    publish(repository_on(server))
    assert all(request.key.startswith(PREFIX + "/") for request in server.requests)


def test_everything_is_there_before_the_reflog_and_the_manifest_is_last(
    server: S3Server,
) -> None:
    with_first_image(server)
    server.requests.clear()
    publish(repository_on(server))
    written = [request.key for request in server.requests if request.method == "PUT"]
    assert written[-3:] == [key(REFLOG), key(MANIFEST), key(LOCK)]
    by_key = {request.key: request for request in server.requests}
    assert "if-match" in by_key[key(REFLOG)].headers
    assert "if-match" in by_key[key(MANIFEST)].headers


def test_committers_take_turns_and_nothing_is_lost(server: S3Server) -> None:
    with_first_image(server)
    revisions: list[int] = []

    def commit_links(name: str) -> None:
        repository = repository_on(server)
        for number in range(5):
            change = PutLink(f"/link-{name}-{number}".encode(), b"target")
            revisions.append(repository.commit([change], now=NOW).number)

    threads = [threading.Thread(target=commit_links, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(revisions) == list(range(3, 18))
    found = contents(server)
    assert all(
        f"/link-{name}-{number}".encode() in found
        for name in "abc"
        for number in range(5)
    )
    assert findings(server) == []


@pytest.mark.parametrize("path", [REFLOG, MANIFEST])
def test_of_two_that_both_hold_the_lock_one_wins(server: S3Server, path: str) -> None:
    with_first_image(server)
    rival = repository_on(server)
    won: list[Revision] = []

    def come_between(request: Request) -> None:
        """Steal the lock, and commit, just before a mutable file is replaced."""
        if request.method == "PUT" and request.key == key(path):
            server.refuse = lambda _: None
            with server.guard:
                del server.objects[key(LOCK)]
            won.append(rival.commit([PutLink(b"/rival", b"x")], now=NOW))

    server.refuse = come_between
    with pytest.raises(RepositoryBusy):
        publish(repository_on(server))
    assert [revision.number for revision in won] == [3]
    found = contents(server)
    assert b"/rival" in found
    assert PLACE not in found
    # The loser tries again, as its job would.
    assert publish(repository_on(server)).number == 4
    found = contents(server)
    assert b"/rival" in found
    assert found[PLACE + b"/hello"] == b"second"
    assert findings(server) == []


class DyingAfter:
    """Cuts a writer off at its n-th write, its heartbeat included, until told."""

    def __init__(self, writes: int) -> None:
        self.writes_left = writes

    def __call__(self, request: Request) -> int | None:
        if request.method in {"GET", "HEAD"} and self.writes_left >= 0:
            return None
        self.writes_left -= 1
        return None if self.writes_left >= 0 else 503


@pytest.mark.slow
def test_a_commit_can_be_cut_off_at_any_write() -> None:
    # How many there are is not the same each time: the lock is prolonged on a timer.
    for number in itertools.count():
        with s3_server() as server:
            with_first_image(server)
            repository = repository_on(server)
            server.refuse = DyingAfter(number)
            try:
                publish(repository)
            except FormatError:
                server.refuse = lambda _: None
                found = contents(server)
                assert found[FIRST + b"/hello"] == b"first"
                assert PLACE not in found
                publish(repository_on(server))
            else:  # only to give the lock back was left, at most
                assert number > 14
                break
            assert contents(server)[PLACE + b"/hello"] == b"second"
            assert findings(server) == []


def test_the_same_process_can_go_on_after_the_bucket_was_away(
    server: S3Server,
) -> None:
    with_first_image(server)
    repository = repository_on(server)
    server.refuse = lambda request: 503 if request.method == "PUT" else None
    with pytest.raises(FormatError):
        publish(repository)
    server.refuse = lambda _: None
    # Contents that the sink believes to be there must be there now.
    assert publish(repository).is_new
    assert contents(server)[PLACE + b"/hello"] == b"second"
    assert findings(server) == []


@pytest.mark.slow
def test_making_a_repository_can_be_cut_off_at_any_write() -> None:
    for number in itertools.count():
        with s3_server() as server:
            server.refuse = DyingAfter(number)
            try:
                new_repository(Path(), storage_on(server))
            except FormatError:
                pass
            else:
                assert number > 5
                break
            server.refuse = lambda _: None
            with pytest.raises(NotFound):
                repository_on(server).head()
            new_repository(Path(), storage_on(server))
            assert findings(server) == []


def test_a_dead_committer_is_waited_for_no_longer_than_its_lease(
    server: S3Server,
) -> None:
    with_first_image(server)
    holder = storage_on(server)
    context = holder.lock()
    context.__enter__()
    server.refuse = DyingAfter(0)
    context.__exit__(None, None, None)
    server.refuse = lambda _: None
    assert publish(repository_on(server)).is_new
