"""Who can write into Redis gets nothing signed, and keeps nobody from publishing.

Each attempt is put into the real queue beside an honest entry, and then somebody leads:
the honest one and the leader's own become live, and nothing of the attempt does.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.harness.redis_server import RedisServer
from tests.support.repositories.independent_audit import audit
from tests.support.repositories.repository_builders import FQRN, is_mountpoint, keys
from workers.cvmfs import (
    Batch,
    Change,
    EditRecords,
    GraftTree,
    LocalStorage,
    PutFile,
    PutLink,
    RemovePath,
    Repository,
)
from workers.formats import scope
from workers.formats.documents import RECEIPT
from workers.formats.paths import FORMER, image_path, metadata_path
from workers.ledger import Lease, Ledger
from workers.publishing.native import NativePublisher
from workers.publishing.plan import FileAt, LinkAt, Plan, RemoveAt, Step
from workers.publishing.publisher import Fence, Publication, publish
from workers.publishing.ready_entry import ReadyEntry, new_entry_id
from workers.publishing.ready_queue import (
    ReadyBatches,
    count_set_aside,
    fence_token,
)
from workers.publishing.seal import Seal
from workers.publishing.together import Scope, Together
from workers.reference import Reference

HOST = "registry.example.org/group"
VICTIM, ATTACKER = f"{HOST}/victim:1", f"{HOST}/attacker:1"
HONEST, LEADER = f"{HOST}/honest:1", f"{HOST}/leader:1"
READY = f"cvmfs-webhook:ready:{FQRN}"
SCOPE = Scope(scope.objection, scope.state)
HOUR_NS = 3600 * 10**9
FLAT = b"../../.flat/ab/"

Entry = tuple[str | bytes, str | bytes]


def place(reference: str) -> bytes:
    return image_path(Reference.parse(reference))


def beside(reference: str) -> bytes:
    return metadata_path(Reference.parse(reference))


class Site:
    """A repository in which one image is live, and the Redis that others write into."""

    def __init__(self, folder: Path, server: RedisServer) -> None:
        self.root = folder / "storage"
        now = int(time.time())
        Repository.create(FQRN, LocalStorage(self.root), keys(), now=now)
        self.connection = server.client()
        self.connection.flushall()
        self.ledger = Ledger(self.connection)
        self.together = Together(
            ReadyBatches(self.connection, self.ledger, FQRN), SCOPE
        )
        self._leases: dict[str, Lease] = {}
        self.attacker = self.begin(ATTACKER)
        self.publish(VICTIM, *self.steps(VICTIM, b"abc"))

    @property
    def repository(self) -> Repository:
        storage = LocalStorage(self.root)
        return Repository(FQRN, storage, keys(), is_mountpoint=is_mountpoint)

    def begin(self, reference: str) -> Lease:
        """Return the lease of a run over a reference, always the same."""
        if reference not in self._leases:
            self.ledger.request(reference, source="test")
            lease = self.ledger.begin(reference, worker="worker")
            assert lease is not None
            self._leases[reference] = lease
        return self._leases[reference]

    def steps(self, reference: str, tree: bytes) -> list[Step]:
        """Return what leads a name to a tree."""
        receipt = FileAt(beside(reference) + b"/" + RECEIPT, b'{"tree": "%s"}' % tree)
        return [receipt, LinkAt(place(reference), FLAT + tree)]

    def publish(self, reference: str, *steps: Step) -> Publication:
        """Publish as a job does that finds nobody else at it."""
        repository = self.repository
        publisher = NativePublisher(FQRN, lambda: repository, self.together)
        fence = Fence(lambda: None, fence_token(self.begin(reference)))
        return publish(publisher, [Plan(reference, steps)], fence)

    def sealed(
        self,
        lease: Lease,
        *changes: Change,
        fqrn: str = FQRN,
        secret: bytes | None = None,
        entry_id: str | None = None,
        fence: str | None = None,
    ) -> tuple[str, str]:
        """Return an entry as one lays it down who has the key; nobody else can."""
        entry_id = entry_id or new_entry_id()
        seal = Seal(secret or keys().secret(), fqrn, "ready batch")
        state = scope.state(self.repository.read(), lease.reference)
        batch = Batch(changes, None)
        entry = ReadyEntry(fence or fence_token(lease), state, batch)
        return entry_id, entry.sealed(seal, entry_id)

    def changes(self, reference: str, tree: bytes) -> list[Change]:
        """Return the same as ``steps``."""
        content = self.repository.sink.put_bytes(b'{"tree": "%s"}' % tree)
        receipt = PutFile(beside(reference) + b"/" + RECEIPT, content)
        return [receipt, PutLink(place(reference), FLAT + tree)]

    def moving(self, reference: str) -> list[Change]:
        """Return changes that lead a name somewhere new."""
        return self.changes(reference, b"ab2")

    def write(self, entry: Entry) -> None:
        """Put an entry into the queue as anybody can."""
        self.connection.hset(READY, entry[0], entry[1])

    def waiting(self) -> int:
        return int(self.connection.hlen(READY))

    def set_aside(self) -> int:
        return count_set_aside(self.connection, FQRN)

    def target(self, reference: str) -> bytes | None:
        """Return where a name leads."""
        found = self.repository.read().lookup(place(reference))
        return None if found is None else found.target

    def names(self) -> set[bytes]:
        """Return everything that is published."""
        return {path for path, _ in self.repository.read().walk()}

    def lead(self) -> None:
        """Let somebody publish who finds the queue as it is."""
        self.publish(LEADER, *self.steps(LEADER, b"abc"))

    def revive(self, lease: Lease) -> None:
        """Write into the ledger that a run of the past is under way."""
        self.connection.hset(
            f"cvmfs-webhook:image:{lease.reference}",
            mapping={
                "lease": lease.token,
                "lease_until": time.time() + HOUR_NS,
                "lease_number": lease.number,
                "requested": lease.number,
                "done": lease.number - 1,
            },
        )


@pytest.fixture
def site(tmp_path: Path, redis_server: RedisServer) -> Iterator[Site]:
    made = Site(tmp_path, redis_server)
    yield made
    made.connection.close()


def forged(site: Site) -> Entry:
    return site.sealed(site.attacker, *site.moving(ATTACKER), secret=b"a guess")


def altered(site: Site) -> Entry:
    entry_id, text = site.sealed(site.attacker, *site.moving(ATTACKER))
    assert "ab2" in text
    return entry_id, text.replace("ab2", "ab3")


def with_another_fence(site: Site) -> Entry:
    entry_id, text = site.sealed(site.attacker, *site.moving(ATTACKER))
    assert site.attacker.token in text
    return entry_id, text.replace(site.attacker.token, site.begin(VICTIM).token)


def of_another_repository(site: Site) -> Entry:
    changes = site.moving(ATTACKER)
    return site.sealed(site.attacker, *changes, fqrn="other.example.org")


def under_another_id(site: Site) -> Entry:
    return new_entry_id(), site.sealed(site.attacker, *site.moving(ATTACKER))[1]


def of_long_ago(site: Site) -> Entry:
    entry_id = f"{time.time_ns() - 2 * HOUR_NS:020d}-00"
    return site.sealed(site.attacker, *site.moving(ATTACKER), entry_id=entry_id)


def without_a_seal(site: Site) -> Entry:
    batch = Batch(tuple(site.moving(ATTACKER)), None).encode()
    return new_entry_id(), f"{fence_token(site.attacker)}\n{batch}"


def without_a_fence(site: Site) -> Entry:
    return site.sealed(site.attacker, *site.moving(ATTACKER), fence="[]")


UNREADABLE: Mapping[str, Callable[[Site], Entry]] = {
    "sealed with a guess": forged,
    "altered": altered,
    "with the fence of another run": with_another_fence,
    "of another repository": of_another_repository,
    "put under another id": under_another_id,
    "of long ago": of_long_ago,
    "as it was before there were seals": without_a_seal,
    "without a fence": without_a_fence,
    "any bytes": lambda _: (b"\xff\xfe", b"\x00\xff\xfe"),
    "no bytes and no id": lambda _: (b"", b""),
    "no bytes": lambda _: (new_entry_id(), b""),
    "very many bytes": lambda _: (new_entry_id(), b"\xff" * (5 << 20)),
    "of a later version": lambda _: (new_entry_id(), '{"version": 99}'),
    "zeros for a seal": lambda _: (new_entry_id(), f"{'0' * 64}\n[]"),
}


@pytest.mark.parametrize("attempt", UNREADABLE)
def test_an_entry_that_no_signer_has_written_harms_nobody(
    site: Site, attempt: str, caplog: pytest.LogCaptureFixture
) -> None:
    site.write(UNREADABLE[attempt](site))
    site.write(site.sealed(site.begin(HONEST), *site.changes(HONEST, b"abc")))
    site.lead()
    assert [site.target(LEADER), site.target(HONEST)] == [FLAT + b"abc"] * 2
    assert site.target(ATTACKER) is None
    assert site.target(VICTIM) == FLAT + b"abc"
    assert [site.waiting(), site.set_aside()] == [0, 1]
    [said] = [each.message for each in caplog.records if "set aside" in each.message]
    assert FQRN in said
    assert "\n" not in said
    audit(site.root)


def tree_at(path: bytes) -> Callable[[Site], Change]:
    def graft(site: Site) -> Change:
        root = site.repository.read().tree(b"")
        return GraftTree(path, site.repository.prepare(path, root))

    return graft


def link(path: bytes, target: bytes = FLAT + b"abc") -> Callable[[Site], Change]:
    return lambda _: PutLink(path, target)


def names_of(reference: str) -> Callable[[Site], Change]:
    record = f'{{"id": "x", "names": ["{reference}"]}}'
    return lambda _: EditRecords(IMAGES, (record,))


def removal(path: bytes) -> Callable[[Site], Change]:
    return lambda _: RemovePath(path)


IMAGES = b"/podmanStore/overlay-images/images.json"
OUTSIDE: Mapping[str, Callable[[Site], Change]] = {
    "move another name": link(place(VICTIM)),
    "remove another name": removal(place(VICTIM)),
    "say something of another name": lambda site: site.moving(VICTIM)[0],
    "remove what is said of another name": removal(beside(VICTIM)),
    "remove what is remembered of it": removal(FORMER + place(VICTIM)),
    "move its link for a platform": link(b"/.multiarch/arm64" + place(VICTIM)),
    "remove what is said of a platform": removal(
        b"/.metadata/.multiarch/arm64" + place(VICTIM)
    ),
    "give podman another name": names_of(VICTIM),
    "take another name from podman": lambda _: EditRecords(IMAGES, (), (VICTIM,)),
    "remove a registry": removal(b"/registry.example.org"),
    "remove a namespace": removal(b"/registry.example.org/group"),
    "remove all trees": removal(b"/.flat"),
    "remove many trees": removal(b"/.flat/ab"),
    "remove many layers": removal(b"/.layers/ab"),
    "remove all metadata": removal(b"/.metadata"),
    "remove all platforms": removal(b"/.multiarch"),
    "remove a platform": removal(b"/.multiarch/amd64"),
    "remove podman's store": removal(b"/podmanStore"),
    "put a tree where no digest names it": tree_at(b"/.flat/ab/xyz"),
    "put a tree into a tree": tree_at(b"/.flat/ab/abc/etc"),
    "put a tree in place of documents": tree_at(
        b"/.metadata/.former" + place(ATTACKER)
    ),
    "put a tree in place of the name": tree_at(place(ATTACKER)),
    "a top folder of its own": link(b"/etc"),
    "a file in one": link(b"/etc/passwd"),
    "a file that tools of CVMFS obey": link(b"/.cvmfsdirtab"),
    "a reserved folder": link(b"/.cvmfs/x"),
    "a mark of catalogs": link(b"/podmanStore/.cvmfscatalog"),
    "a path without a root": link(b"relative"),
    "no path": link(b""),
    "the root": link(b"/"),
    "a path that climbs": link(b"/podmanStore/../etc"),
    "a path with nothing in it": link(b"/podmanStore//x"),
    "a path with a dot in it": link(b"/podmanStore/."),
    "lead the name to a file of the node": link(place(ATTACKER), b"/etc/passwd"),
    "lead it out of the repository": link(place(ATTACKER), b"../../../etc"),
    "lead it out of the layout": link(place(ATTACKER), b"../../etc"),
    "lead it nowhere": link(place(ATTACKER), b""),
}


@pytest.mark.parametrize("attempt", OUTSIDE)
def test_a_run_changes_nothing_but_what_is_its_own(site: Site, attempt: str) -> None:
    before, change = site.names(), OUTSIDE[attempt](site)
    site.write(site.sealed(site.attacker, change, *site.moving(ATTACKER)))
    site.lead()
    assert site.target(LEADER) == FLAT + b"abc"
    assert site.target(VICTIM) == FLAT + b"abc"
    assert {name for name in site.names() - before if b"leader" not in name} == set()
    assert before <= site.names()
    assert [site.waiting(), site.set_aside()] == [0, 1]


def test_the_same_without_the_one_change_is_published(site: Site) -> None:
    site.write(site.sealed(site.attacker, *site.moving(ATTACKER)))
    site.lead()
    assert site.target(ATTACKER) == FLAT + b"ab2"
    assert [site.waiting(), site.set_aside()] == [0, 0]


def test_an_entry_that_is_put_back_does_not_bring_old_content_back(
    site: Site,
) -> None:
    old = site.sealed(site.attacker, *site.changes(ATTACKER, b"abc"))
    site.write(old)
    site.lead()
    assert site.target(ATTACKER) == FLAT + b"abc"
    site.publish(ATTACKER, *site.steps(ATTACKER, b"ab2"))
    site.write(old)
    site.revive(site.attacker)
    site.lead()
    assert site.target(ATTACKER) == FLAT + b"ab2"
    assert site.waiting() == 0


def test_an_entry_that_is_put_back_does_not_undo_a_removal(site: Site) -> None:
    old = site.sealed(site.attacker, *site.changes(ATTACKER, b"abc"))
    site.write(old)
    site.lead()
    receipt = beside(ATTACKER) + b"/" + RECEIPT
    former = FORMER + place(ATTACKER) + b"/abc/" + RECEIPT
    site.publish(
        ATTACKER,
        RemoveAt(place(ATTACKER)),
        RemoveAt(receipt),
        FileAt(former, b"{}"),
    )
    site.write(old)
    site.revive(site.attacker)
    site.lead()
    assert site.target(ATTACKER) is None
    assert site.waiting() == 0


def test_a_run_of_the_past_publishes_nothing(site: Site) -> None:
    entry = site.sealed(site.attacker, *site.moving(ATTACKER))
    site.ledger.abandon(ATTACKER, worker="worker", how="killed")
    site.write(entry)
    site.lead()
    assert site.target(ATTACKER) is None
    assert site.waiting() == 0


def test_a_record_that_cannot_be_read_harms_only_its_own_run(site: Site) -> None:
    site.write(site.sealed(site.begin(HONEST), *site.changes(HONEST, b"abc")))
    site.write(site.sealed(site.attacker, *site.moving(ATTACKER)))
    site.connection.set(f"cvmfs-webhook:image:{ATTACKER}", b"\xff")
    site.lead()
    assert [site.target(LEADER), site.target(HONEST)] == [FLAT + b"abc"] * 2
    assert site.target(ATTACKER) is None


def test_nobody_publishes_of_himself_what_is_not_his_own(site: Site) -> None:
    with pytest.raises(Exception, match=r"is not to be changed for .*attacker"):
        site.publish(ATTACKER, *site.steps(VICTIM, b"ab2"))
    assert site.target(VICTIM) == FLAT + b"abc"


def test_a_forged_answer_is_not_believed(site: Site) -> None:
    repository = site.repository
    told = []

    class Lying(ReadyBatches):
        """A queue in which others answer at once."""

        def add(self, entry_id: str, entry: str) -> None:
            super().add(entry_id, entry)
            told.append(entry_id)
            lie = f'{{"revision": [99, "{"0" * 40}", 0]}}'
            for answer in (b"\xff", b"[]", b"{}", lie, f"{'0' * 64}\n{lie}"):
                self._redis.rpush(f"{READY}:{entry_id}", answer)

    queue = Lying(site.connection, site.ledger, FQRN, patience_seconds=0)
    publisher = NativePublisher(FQRN, lambda: repository, Together(queue, SCOPE))
    plan = Plan(LEADER, tuple(site.steps(LEADER, b"abc")))
    fence = Fence(lambda: None, fence_token(site.begin(LEADER)))
    with (
        LocalStorage(site.root).lock(),
        pytest.raises(Exception, match="lock"),
    ):
        publish(publisher, [plan], fence)
    assert len(told) == 1
    assert publish(publisher, [plan], fence).revision == 3
