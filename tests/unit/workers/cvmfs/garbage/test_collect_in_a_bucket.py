"""Garbage in a bucket: listed in pages, deleted in batches, and nobody is harmed."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.repositories.garbage_collection import contents, image, leak, publish
from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    is_mountpoint,
    keys,
    new_repository,
)
from tests.support.repositories.s3_server import (
    Request,
    S3Server,
    StoredObject,
    s3_server,
)
from workers.cvmfs import (
    Collection,
    ContentCollected,
    FormatError,
    GraftTree,
    PutLink,
    Repository,
    RepositoryBusy,
    Retention,
    S3Storage,
    StorageFailed,
    collect_garbage,
)
from workers.cvmfs.checking.check import check
from workers.cvmfs.garbage.progress import EXPIRED, LEAKED
from workers.cvmfs.storage.bucket_lease import LOCK
from workers.cvmfs.storage.storage import COLLECTION, STATUS

pytestmark = pytest.mark.slow

PREFIX = "cvmfs/test.example.org"
PATH = b"/.flat/ab/late"
DAY = 24 * 3600
HOUR = 3600


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


def storage_on(server: S3Server, retry_seconds: float = 0) -> S3Storage:
    return S3Storage(
        server.access(PREFIX),
        patience_seconds=60,
        lease_seconds=0.05,
        retry_seconds=retry_seconds,
    )


def repository_on(server: S3Server) -> Repository:
    return Repository(FQRN, storage_on(server), keys(), is_mountpoint=is_mountpoint)


def two_revisions(server: S3Server) -> None:
    repository = new_repository(Path(), storage_on(server))
    publish(repository, b"old", b"shared", now=NOW + 1)
    publish(repository, b"new", b"shared", now=NOW + 2)
    publish(repository, b"new", b"shared", b"more", now=NOW + 3)
    leak(repository, b"leaked", b"shared")
    repository.storage.sync()


def collect(
    server: S3Server, *, grace_seconds: int = -HOUR, dry_run: bool = False
) -> Collection:
    """Collect; without any grace, unless told."""
    storage = storage_on(server)
    return collect_garbage(
        FQRN,
        storage,
        keys(),
        now=NOW + 20 * DAY,
        stored_now=storage.clock(),
        retention=Retention(newest=1, seconds=0, grace_seconds=grace_seconds),
        dry_run=dry_run,
    )


def findings(server: S3Server) -> list[str]:
    public = [keys().public_key]
    found = check(storage_on(server), FQRN, public, now=NOW, contents=True)
    with closing(found):
        return [str(finding) for finding in found]


def key(path: str) -> str:
    return f"{PREFIX}/{path}"


def test_garbage_in_a_bucket_goes_and_all_else_stays(server: S3Server) -> None:
    server.page_length = 3
    two_revisions(server)
    before = contents(repository_on(server).read())
    planned = collect(server, dry_run=True)
    kept = set(server.objects)
    done = collect(server)
    assert done.garbage == planned.garbage
    assert done.garbage["files", EXPIRED].objects == 1
    assert done.garbage["files", LEAKED].objects == 1
    gone = kept - set(server.objects)
    assert done.deleted.objects == len(gone) == done.planned.objects > 4
    assert contents(repository_on(server).read()) == before
    assert findings(server) == []
    assert collect(server).garbage == {}
    assert json.loads(server.objects[key(STATUS)].data)["last_gc"].endswith("2027")


def test_objects_are_deleted_by_few_requests(server: S3Server) -> None:
    two_revisions(server)
    server.requests.clear()
    done = collect(server)
    methods = [request.method for request in server.requests if not request.key]
    assert done.deleted.objects > 4
    assert methods.count("POST") == 1  # the rest are listings
    objects = [request for request in server.requests if "/data/" in request.key]
    deleted = [request.key for request in objects if request.method == "DELETE"]
    assert all("/data/txn/" in name for name in deleted)


def test_a_service_without_deleteobjects_is_asked_one_by_one(server: S3Server) -> None:
    server.knows_delete_objects = False
    two_revisions(server)
    done = collect(server)
    assert done.deleted.objects == done.planned.objects > 4
    assert findings(server) == []
    assert collect(server).garbage == {}


def test_a_deletion_that_fails_is_tried_again_and_ends_in_an_error(
    server: S3Server,
) -> None:
    two_revisions(server)
    failures = 0

    def refuse(request: Request) -> int | None:
        nonlocal failures
        is_deletion = request.method == "POST" or (
            request.method == "DELETE" and "/txn/" not in request.key
        )
        failures += is_deletion
        return 503 if is_deletion else None

    server.refuse = refuse
    with pytest.raises(StorageFailed):
        collect(server)
    assert failures == 2
    server.refuse = lambda _: None
    assert collect(server).deleted.objects > 4
    assert findings(server) == []


def test_the_clock_of_the_bucket_decides_what_is_young(server: S3Server) -> None:
    server.clock = lambda: time.time() - 10 * DAY
    two_revisions(server)
    assert abs(storage_on(server).clock() - server.clock()) < HOUR
    done = collect(server, grace_seconds=DAY)
    assert done.garbage == {}
    assert done.young.objects > 4
    server.clock = lambda: time.time() - 8 * DAY
    assert collect(server, grace_seconds=DAY).deleted.objects > 4


def test_old_probes_are_leftovers_and_the_lock_is_none(server: S3Server) -> None:
    two_revisions(server)
    month_ago = time.time() - 30 * DAY
    old = StoredObject(b"[0]", {}, month_ago)
    server.objects[key("data/txn/probe-0123")] = old
    server.objects[key("data/txn/of-somebody-else")] = old
    server.objects[key("data/txn/young")] = StoredObject(b"[0]", {}, time.time())
    server.objects[key(LOCK)] = StoredObject(
        server.objects[key(LOCK)].data, {}, month_ago
    )
    done = collect(server, grace_seconds=DAY)
    assert (done.leftovers.objects, done.waiting.objects) == (2, 1)
    left = {name for name in server.objects if "/txn/" in name}
    assert left == {key(LOCK), key("data/txn/young")}


def test_what_was_relied_on_before_a_collection_is_looked_up_many_at_once(
    server: S3Server,
) -> None:
    server.clock = lambda: time.time() - 30 * DAY
    two_revisions(server)
    server.clock = time.time
    repository = repository_on(server)
    texts = [b"text %d" % number for number in range(100)]
    tree = repository.prepare(PATH, image(repository, *texts, b"leaked"))
    repository.storage.sync()
    assert collect(server, grace_seconds=DAY).deleted.objects > 4
    server.most_in_flight = 0
    with pytest.raises(ContentCollected):
        repository.commit([GraftTree(PATH, tree)], now=NOW + 4)
    assert server.most_in_flight > 4
    tree = repository.prepare(PATH, image(repository, *texts, b"leaked"))
    assert repository.commit([GraftTree(PATH, tree)], now=NOW + 4).is_new
    assert findings(server) == []


def test_nothing_is_looked_up_while_nothing_is_collected(server: S3Server) -> None:
    two_revisions(server)
    repository = repository_on(server)
    server.requests.clear()
    publish(repository, b"shared", b"leaked", path=PATH, now=NOW + 4)
    looked_up = [
        request.key
        for request in server.requests
        if request.method == "HEAD" and "/data/" in request.key
    ]
    # The transaction asks for each catalog that it mounts, and for nothing else.
    assert len(looked_up) == 1
    assert looked_up[0].endswith("C")


class Dying:
    """Lets a service answer no more from its n-th write on, until told."""

    def __init__(self, writes: int) -> None:
        self.writes_left = writes

    def __call__(self, request: Request) -> int | None:
        is_probe = "probe-" in request.key or "clock-" in request.key
        if request.key == key(LOCK) or is_probe or request.method in {"GET", "HEAD"}:
            return None if self.writes_left >= 0 else 503
        self.writes_left -= 1
        return None if self.writes_left >= 0 else 503


@pytest.mark.slow
def test_a_collection_can_be_cut_off_at_any_write() -> None:
    number = 0
    is_cut = True
    while is_cut:
        with s3_server() as server:
            two_revisions(server)
            server.refuse = Dying(number)
            try:
                collect(server)
                is_cut = False
            except FormatError:
                server.refuse = lambda _: None
                contents(repository_on(server).read())
                publish(
                    repository_on(server), b"leaked", b"old", path=PATH, now=NOW + 4
                )
                assert [text for text in findings(server) if "reflog" not in text] == []
                collect(server)
                assert findings(server) == []
        number += 1
    assert number > 4


def test_a_collector_that_slept_deletes_nothing(server: S3Server) -> None:
    """It lost the lock while it slept, and others went on."""
    two_revisions(server)
    rival = repository_on(server)
    published: list[bool] = []

    def sleep(request: Request) -> int | None:
        # As if it slept right before it deletes: its mark says so already.
        is_mark = request.method == "PUT" and request.key == key(COLLECTION)
        if is_mark and not published:
            published.append(True)
            server.refuse = lambda _: None
            with server.guard:
                del server.objects[key(LOCK)]
            publish(rival, b"leaked", b"old", path=PATH, now=NOW + 4)
        return None

    server.refuse = sleep
    with pytest.raises(RepositoryBusy):
        collect(server)
    assert published
    assert findings(server) == []
    assert contents(repository_on(server).read())[PATH + b"/leaked"]


def test_nobody_takes_the_lock_of_a_collector_for_its_clock(server: S3Server) -> None:
    two_revisions(server)
    collector = storage_on(server)
    proven = threading.Event()
    ended = threading.Event()

    def hold() -> None:
        with collector.lock():
            collector.delete_all([f"data/ab/{'0' * 38}"], older_than=0)
            proven.set()
            ended.wait(60)

    holding = threading.Thread(target=hold)
    holding.start()
    assert proven.wait(60)
    said = json.loads(server.objects[key(LOCK)].data)
    assert said["lasts"] == pytest.approx(0.3)
    assert "until" not in said
    other = storage_on(server)
    with pytest.raises(RepositoryBusy), other.lock(patience_seconds=0.2):
        pass
    ended.set()
    holding.join()
    link = PutLink(b"/link", b"target")
    assert repository_on(server).commit([link], now=NOW + 5).is_new


def test_deleting_without_the_lock_is_refused(server: S3Server) -> None:
    two_revisions(server)
    with pytest.raises(RepositoryBusy, match="lock"):
        storage_on(server).delete_all(["data/ab/cdef"], older_than=0)
