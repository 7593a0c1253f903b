"""Jobs of many processes in one commit: each gets its own answer, and none is lost.

Real processes, a real Redis, and leaders that are killed where a crash can hurt.
"""

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.harness.native_publisher import ANYTHING
from tests.support.harness.redis_server import RedisServer
from tests.support.repositories.crashing_storage import (
    MORE_THAN_ALL_WRITES,
    CrashingStorage,
    crash_with_an_error,
    crash_with_sigkill,
)
from tests.support.repositories.independent_audit import audit
from tests.support.repositories.repository_builders import (
    FQRN,
    is_mountpoint,
    keys,
    small_tree,
)
from tests.support.tools.child_process import ChildProcess
from tests.support.tools.waiting import wait_until
from workers.cvmfs import LocalStorage, Repository, RepositoryBusy, StorageFailed
from workers.cvmfs.storage.storage import Storage
from workers.jobqueue.connection import connect_url
from workers.ledger import Lease, Ledger
from workers.publishing.native import NativePublisher
from workers.publishing.plan import FileAt, LinkAt, Plan, Step, TreeAt
from workers.publishing.publisher import (
    Fence,
    Publication,
    PublicationFailed,
    RepositoryUnavailable,
)
from workers.publishing.publisher import publish as publish_plans
from workers.publishing.ready_queue import ReadyBatches, fence_token
from workers.publishing.together import Scope, Together

READY = f"cvmfs-webhook:ready:{FQRN}"


class LeaseGone(Exception):
    """What a job raises when its fence is down."""


class Gated(LocalStorage):
    """A storage whose lock its user does not get while a file is there.

    A lock that the test itself held would go to the children with its descriptor.
    """

    def __init__(self, root: Path, file: Path) -> None:
        super().__init__(root)
        self._file = file

    @contextmanager
    def lock(self, *, patience_seconds: float | None = None) -> Iterator[None]:
        while self._file.exists():
            if patience_seconds == 0:
                raise RepositoryBusy("not yet")
            time.sleep(0.01)
        with super().lock(patience_seconds=patience_seconds):
            yield


class Site:
    """A repository, and the Redis that its publishers share."""

    def __init__(self, folder: Path, redis_server: RedisServer) -> None:
        self.root = folder / "storage"
        self.gate = folder / "gate"
        self.server = redis_server
        self.connection = redis_server.client()
        self.connection.flushall()
        self.ledger = Ledger(self.connection)
        self.create()

    def create(self) -> None:
        """Make an empty repository."""
        Repository.create(
            FQRN,
            LocalStorage(self.root),
            keys(),
            now=int(time.time()),
            is_mountpoint=is_mountpoint,
        )

    @property
    def repository(self) -> Repository:
        return self.repository_on(LocalStorage(self.root))

    def repository_on(self, storage: Storage) -> Repository:
        return Repository(FQRN, storage, keys(), is_mountpoint=is_mountpoint)

    def waiting(self) -> int:
        """Return how many batches lie in the queue."""
        return int(self.connection.hlen(READY))

    def begin(self, name: str) -> Lease:
        """Begin a run over a reference, as a job does."""
        self.ledger.request(name, source="test")
        lease = self.ledger.begin(name, worker="worker")
        assert lease is not None
        return lease

    def publish(
        self,
        name: str,
        *steps: Step,
        lease: Lease | None = None,
        storage: Storage | None = None,
        queue: type[ReadyBatches] = ReadyBatches,
        scope: Scope = ANYTHING,
        check: Callable[[], None] | None = None,
    ) -> Publication:
        """Publish as a job does, with connections of its own."""
        with connect_url(self.server.url, patience_seconds=0.1) as connection:
            ledger = Ledger(connection)
            run = lease or self.begin(name)

            def ask() -> None:
                if not ledger.keep_alive(run) or ledger.is_overtaken(run):
                    raise LeaseGone

            repository = self.repository_on(storage or Gated(self.root, self.gate))
            together = Together(queue(connection, ledger, FQRN), scope)
            publisher = NativePublisher(FQRN, lambda: repository, together)
            tree = small_tree(repository.sink, name.encode())
            place = f"/.flat/ab/{name}".encode()
            plan = Plan(
                name,
                (
                    TreeAt(place, tree, lambda _: None),
                    *steps,
                    LinkAt(f"/registry/group/{name}".encode(), place),
                ),
            )
            return publish_plans(
                publisher, [plan], Fence(check or ask, fence_token(run))
            )

    def is_live(self, name: str) -> bool:
        """Whether an image is there, whole; it is never there in part."""
        snapshot = self.repository.read()
        link = snapshot.lookup(f"/registry/group/{name}".encode())
        hello = snapshot.lookup(f"/.flat/ab/{name}/hello".encode())
        assert (link is None) is (hello is None)
        if hello is None:
            return False
        assert snapshot.read(hello) == name.encode()
        return True

    @contextmanager
    def gathering(self, count: int) -> Iterator[None]:
        """Let nobody lead within, and end when so many batches lie in the queue."""
        self.gate.touch()
        yield
        wait_until(lambda: self.waiting() == count, "all in the queue")
        self.gate.unlink()


@pytest.fixture
def site(tmp_path: Path, redis_server: RedisServer) -> Iterator[Site]:
    made = Site(tmp_path, redis_server)
    yield made
    made.connection.close()


def child(site: Site, name: str, *steps: Step) -> ChildProcess[Publication]:
    return ChildProcess(site.publish, name, *steps)


@pytest.mark.slow
def test_what_is_ready_meanwhile_goes_into_one_revision(site: Site) -> None:
    names = [f"image-{number}" for number in range(12)]
    before = site.repository.head().revision
    with site.gathering(len(names)):
        children = [child(site, name) for name in names]
    assert {one.outcome().revision for one in children} == {before + 1}
    assert site.repository.head().revision == before + 1
    assert all(map(site.is_live, names))
    assert site.waiting() == 0
    audit(site.root)


@pytest.mark.slow
def test_many_that_publish_at_once_all_become_live(site: Site) -> None:
    before = site.repository.head().revision

    def publish_some(worker: int) -> list[int]:
        return [site.publish(f"{worker}-{image}").revision for image in range(4)]

    children = [ChildProcess(publish_some, worker) for worker in range(8)]
    revisions = {number for one in children for number in one.outcome()}
    assert max(revisions) == site.repository.head().revision
    assert len(revisions) < 32
    assert max(revisions) - before == len(revisions)
    assert all(site.is_live(f"{w}-{image}") for w in range(8) for image in range(4))
    assert site.waiting() == 0
    audit(site.root)


def test_one_alone_leaves_the_queue_alone(site: Site) -> None:
    class Untouched(ReadyBatches):
        def add(self, entry_id: str, entry: str) -> None:
            raise AssertionError(entry_id)

        def answer(self, answers: Mapping[str, str]) -> None:
            raise AssertionError(answers)

    assert site.publish("alone", queue=Untouched).revision == 2
    assert site.is_live("alone")


@pytest.mark.slow
def test_a_plan_that_cannot_be_made_harms_only_itself(site: Site) -> None:
    bad = FileAt(b"/file/below", b"a file cannot be below a file")
    site.publish("first", FileAt(b"/file", b"content"))
    before = site.repository.head().revision
    with site.gathering(4):
        good = [child(site, name) for name in ("one", "two")]
        refused = [child(site, name, bad) for name in ("bad", "worse")]
    assert {one.outcome().revision for one in good} == {before + 1}
    for one in refused:
        with pytest.raises(PublicationFailed, match="/file is not a directory"):
            one.outcome()
    assert site.is_live("one")
    assert site.is_live("two")
    assert not site.is_live("bad")
    assert not site.is_live("worse")
    assert site.waiting() == 0
    audit(site.root)


@pytest.mark.slow
def test_what_was_collected_meanwhile_harms_only_itself(site: Site) -> None:
    content = site.repository.sink.put_bytes(b"collected").hash
    assert content is not None
    with site.gathering(2):
        good = child(site, "good")
        lost = child(site, "lost", FileAt(b"/file", b"collected"))
        wait_until(lambda: site.waiting() == 2, "both in the queue")
        # As a collection does, under the lock.
        (site.root / "data" / content.hex()[:2] / content.hex()[2:]).unlink()
        (site.root / ".cvmfs_collection").write_bytes(b"another mark\n")
    assert good.outcome().revision == 2
    with pytest.raises(RepositoryUnavailable, match="is gone: prepare what needs it"):
        lost.outcome()
    assert not site.is_live("lost")
    assert site.publish("again", FileAt(b"/file", b"collected")).revision == 3


@pytest.mark.slow
def test_who_lost_the_lease_while_waiting_is_left_out(site: Site) -> None:
    leases = {name: site.begin(name) for name in ("kept", "lost", "overtaken")}
    with site.gathering(3):
        children = {
            name: ChildProcess(site.publish, name, lease=leases[name])
            for name in leases
        }
        wait_until(lambda: site.waiting() == 3, "all in the queue")
        site.ledger.abandon("lost", worker="worker", how="killed")
        site.ledger.request("overtaken", source="test", forced=True)
    assert children["kept"].outcome().revision == 2
    for name in ("lost", "overtaken"):
        with pytest.raises(LeaseGone):
            children[name].outcome()
        assert not site.is_live(name)
    assert site.is_live("kept")
    assert site.waiting() == 0


def test_what_a_dead_one_left_is_published_only_while_its_lease_holds(
    site: Site,
) -> None:
    leases = {name: site.begin(name) for name in ("dead", "buried")}
    with site.gathering(2):
        children = {
            name: ChildProcess(site.publish, name, lease=leases[name])
            for name in leases
        }
        wait_until(lambda: site.waiting() == 2, "both in the queue")
        for one in children.values():
            one.kill()
        site.ledger.abandon("buried", worker="worker", how="killed")
    site.publish("next")
    assert site.is_live("dead")
    assert not site.is_live("buried")
    assert site.waiting() == 0
    # The run that takes up the dead one's work finds it done.
    again = site.publish("dead", lease=leases["dead"])
    assert again.revision == site.repository.head().revision == 2


@pytest.mark.slow
def test_who_can_not_reach_the_queue_commits_alone(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        site = Site(tmp_path, server)
        lease = site.begin("image")
        site.gate.touch()
        waiting = ChildProcess(site.publish, "image", lease=lease, check=lambda: None)
        wait_until(lambda: site.waiting() == 1, "in the queue")
        server.kill()
        site.gate.unlink()
        assert waiting.outcome().revision == 2
        assert site.is_live("image")
        alone = ChildProcess(site.publish, "other", lease=lease, check=lambda: None)
        assert alone.outcome().revision == 3
        site.connection.close()


# Leaders that die.


FOLLOWERS = ["one", "two"]


@contextmanager
def followers(site: Site) -> Iterator[list[ChildProcess[Publication]]]:
    """Give processes that wait in the queue, and do not lead within."""
    site.gate.touch()
    children = [ChildProcess(site.publish, name) for name in FOLLOWERS]
    wait_until(lambda: site.waiting() == len(FOLLOWERS), "all in the queue")
    yield children
    site.gate.unlink()
    ReadyBatches(site.connection, site.ledger, FQRN).call()


@pytest.mark.slow
def test_a_leader_can_be_killed_at_any_write(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    site = Site(tmp_path / "count", redis_server)
    storage = CrashingStorage(site.root, MORE_THAN_ALL_WRITES, crash_with_an_error)
    with followers(site) as children:
        assert site.publish("leader", storage=storage).revision == 2
        assert [one.outcome().revision for one in children] == [2, 2]
    writes = MORE_THAN_ALL_WRITES - storage.writes_left
    assert writes > 15
    for number in range(writes):
        site.connection.close()
        site = Site(tmp_path / str(number), redis_server)
        lease = site.begin("leader")
        storage = CrashingStorage(site.root, number, crash_with_sigkill)
        with followers(site) as children:
            leader = ChildProcess(site.publish, "leader", lease=lease, storage=storage)
            assert leader.exit_code == -signal.SIGKILL
            assert not any(map(site.is_live, ["leader", *FOLLOWERS]))
        assert [one.outcome().revision for one in children] == [2, 2]
        assert all(map(site.is_live, FOLLOWERS))
        assert site.waiting() == 0
        # Its job runs again.
        assert site.publish("leader", lease=lease).revision == 3
        assert site.is_live("leader")
        audit(site.root)
    site.connection.close()


def test_what_a_leader_committed_before_it_died_is_not_committed_twice(
    site: Site,
) -> None:
    class Last(ReadyBatches):
        """A queue whose user dies before it tells anybody anything."""

        def answer(self, answers: Mapping[str, str]) -> None:
            crash_with_sigkill()

    lease = site.begin("leader")
    with followers(site) as children:
        storage = LocalStorage(site.root)
        leader = ChildProcess(
            site.publish, "leader", lease=lease, storage=storage, queue=Last
        )
        assert leader.exit_code == -signal.SIGKILL
        assert all(map(site.is_live, ["leader", *FOLLOWERS]))
        assert site.waiting() == len(FOLLOWERS)
    assert [one.outcome().revision for one in children] == [2, 2]
    assert site.repository.head().revision == 2
    assert site.publish("leader", lease=lease).revision == 2
    assert site.waiting() == 0
    audit(site.root)


def test_a_leader_whose_storage_refuses_fails_alone(site: Site) -> None:
    class Refusing(LocalStorage):
        def replace(self, path: str, data: bytes) -> None:
            raise StorageFailed(f"{path}: no space left")

    with followers(site) as children:
        with pytest.raises(RepositoryUnavailable, match="no space left"):
            site.publish("leader", storage=Refusing(site.root))
        assert site.waiting() == len(FOLLOWERS)
    assert [one.outcome().revision for one in children] == [2, 2]
    assert not site.is_live("leader")


def test_a_leader_that_must_not_publish_itself_still_serves_the_others(
    site: Site,
) -> None:
    lease = site.begin("leader")
    site.ledger.abandon("leader", worker="worker", how="killed")
    with followers(site) as children:
        with pytest.raises(LeaseGone):
            site.publish("leader", lease=lease, storage=LocalStorage(site.root))
        assert [one.outcome().revision for one in children] == [2, 2]
    assert all(map(site.is_live, FOLLOWERS))
    assert not site.is_live("leader")
