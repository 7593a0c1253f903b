"""Events are kept before they are answered, and decided by the policy of the moment."""

import logging
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.support.harness.ledger import D1, D2, StoppedClock
from tests.support.harness.redis_server import RedisServer
from webhook.intake.intake import DurabilityCheck, Intake, NotKept
from webhook.senders.event import PushEvent
from workers.errors import TransientError
from workers.jobqueue import JobQueue
from workers.ledger import Accepted, Ledger, Outcome, RunResult, Verdict, orders
from workers.policy import PolicyFile

NOW = 1_800_000_000.0


class IntakeParts:
    """An intake with the real parts around it."""

    def __init__(self, redis_server: RedisServer, folder: Path) -> None:
        self.connection = redis_server.client()
        self.connection.flushall()
        self.clock = StoppedClock(NOW)
        self.ledger = Ledger(self.connection, clock=self.clock)
        self.queue = JobQueue(self.connection)
        policy = folder / "policy.yaml"
        policy.write_text("version: 1\nrules: [{allow: a.b/team/*}]\n")
        self.policy = PolicyFile(policy)
        self.problem: str | None = None
        self.intake = self.with_queue(self.queue)

    def with_queue(self, queue: JobQueue) -> Intake:
        return Intake(
            self.ledger,
            queue,
            self.policy,
            durability=lambda: self.problem,
            clock=self.clock,
        )


@pytest.fixture
def parts(redis_server: RedisServer, tmp_path: Path) -> Iterator[IntakeParts]:
    parts = IntakeParts(redis_server, tmp_path)
    yield parts
    parts.connection.close()


def event(repository: str = "team/web", **more: str | float | bool | None) -> PushEvent:
    fields = {"tag": "1", "digest": D1} | more
    return PushEvent.read(registry="a.b", repository=repository, **fields)  # type: ignore[arg-type] # names vary


def test_a_delivery_is_on_record_with_all_its_images(parts: IntakeParts) -> None:
    answer = parts.intake.receive(
        "local",
        [
            event(actor="ci", event_id="7"),
            event("other/web"),
            event(tag=None),
            event(action="pull"),
            event("../etc"),
        ],
        sender="192.0.2.7",
    )
    assert answer.is_queued
    assert [(image.reference, image.decision) for image in answer.images] == [
        ("a.b/team/web:1", Verdict.QUEUED),
        ("a.b/other/web:1", Verdict.REFUSED),
        (f"a.b/team/web@{D1}", Verdict.IGNORED),
        (None, Verdict.REFUSED),
    ]
    delivery = parts.ledger.delivery(answer.id)
    assert delivery is not None
    assert (delivery.source, delivery.sender) == ("local", "192.0.2.7")
    assert delivery.time == NOW
    assert [kept.reference for kept in delivery.events] == [
        "a.b/team/web:1",
        "a.b/other/web:1",
        None,
        None,
    ]
    first = delivery.events[0]
    assert (first.actor, first.event_id, first.digest) == ("ci", "7", D1)
    assert re.fullmatch("[0-9a-f]{24}", answer.id)


def test_a_hint_has_the_senders_time_if_there_is_one(parts: IntakeParts) -> None:
    def sent(reference: str) -> float | None:
        image = parts.ledger.image(reference)
        assert image is not None
        assert image.hint is not None
        return image.hint.sent

    told = event("team/told", time=NOW - 5.0)
    parts.intake.receive("local", [event("team/untold"), told])
    assert sent("a.b/team/untold:1") is None
    assert sent("a.b/team/told:1") == NOW - 5


def test_an_id_counts_as_seen_only_where_it_is_unique(parts: IntakeParts) -> None:
    def decision(one: PushEvent) -> Verdict:
        return parts.intake.receive("local", [one]).images[0].decision

    unique = event(event_id="1", is_id_unique=True)
    assert decision(unique) is Verdict.QUEUED
    assert decision(unique) is Verdict.DUPLICATE
    other_tag = event(event_id="1", is_id_unique=True, tag="2")
    assert decision(other_tag) is Verdict.QUEUED
    vague = event(event_id="2")
    assert decision(vague) is decision(vague) is Verdict.QUEUED
    unnamed = event(is_id_unique=True)
    assert decision(unnamed) is decision(unnamed) is Verdict.QUEUED


def test_what_the_policy_refuses_is_no_duplicate_once_it_allows_it(
    parts: IntakeParts,
) -> None:
    one = event("new/web", event_id="1", is_id_unique=True)
    assert not parts.intake.receive("local", [one]).is_queued
    parts.policy.path.write_text("version: 1\nrules: [{allow: a.b/**}]\n")
    assert parts.intake.receive("local", [one]).is_queued


def test_nothing_is_taken_while_redis_may_forget(parts: IntakeParts) -> None:
    parts.problem = "Redis keeps no append-only file"
    with pytest.raises(NotKept, match="keeps no append-only file"):
        parts.intake.receive("local", [event()])
    assert parts.ledger.deliveries() == []
    assert parts.intake.receive("local", [event(action="pull")]).images == ()


def test_the_log_has_a_line_for_each_reference_that_is_accepted_or_refused(
    parts: IntakeParts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    events = [
        event(),
        event(repository="strange/web"),
        event(action="pull"),
        event(tag=None),
    ]
    answer = parts.intake.receive("local", events)
    name = answer.images[0].reference
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert told[0].startswith(f"delivery={answer.id} source=local reference={name} ")
    assert " queued: " in told[0]
    assert told[1].endswith("/strange/web:1 refused: no rule allows this name")


def test_what_is_kept_is_accepted_even_if_the_queue_fails(
    parts: IntakeParts, caplog: pytest.LogCaptureFixture
) -> None:
    class BrokenQueue(JobQueue):
        def enqueue_accepted(self, accepted: Iterable[Accepted]) -> int:
            raise TransientError("the queue server does not work")

    intake = parts.with_queue(BrokenQueue(parts.connection))
    assert intake.receive("local", [event()]).is_queued
    assert "not queued yet" in caplog.text
    # Nobody carries it, so the workers' sweep must find it.
    parts.clock.passes(60)
    (owed,) = parts.ledger.owed(set())
    assert owed.reference == "a.b/team/web:1"


def test_an_unreadable_notification_is_on_record(parts: IntakeParts) -> None:
    identity = parts.intake.note_unreadable("local", "not JSON", sender="192.0.2.7")
    delivery = parts.ledger.delivery(identity)
    assert delivery is not None
    (kept,) = delivery.events
    assert (kept.reference, kept.reason) == (None, "not JSON")
    assert (kept.verdict, kept.action) == (Verdict.REFUSED, "unreadable")


def test_what_redis_says_of_itself_is_asked_seldom() -> None:
    clock = StoppedClock()
    answers: list[str | None] = [None, "bad", None]
    asked: list[float] = []

    def ask() -> str | None:
        asked.append(clock.time)
        return answers.pop(0)

    check = DurabilityCheck(ask, clock)
    assert check.problem() is check.problem() is None
    assert len(asked) == 1
    clock.passes(5)
    assert check.problem() == check.problem() == "bad"
    assert len(asked) == 2
    clock.passes(1)
    assert check.problem() is None
    assert len(asked) == 3


def test_threads_that_wait_for_one_answer_share_it() -> None:
    asked: list[int] = []
    gate = threading.Barrier(4)

    def ask() -> None:
        asked.append(1)

    check = DurabilityCheck(ask)

    def look() -> None:
        gate.wait()
        check.problem()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == [1]


def test_nothing_is_refused_while_there_is_no_policy_to_refuse_it(
    parts: IntakeParts,
) -> None:
    parts.policy.path.write_text("rules: [")
    with pytest.raises(NotKept, match="policy"):
        parts.intake.receive("local", [event()])
    assert parts.ledger.image("a.b/team/web:1") is None
    parts.policy.path.write_text("version: 1\nrules: [{allow: a.b/**}]\n")
    assert parts.intake.receive("local", [event()]).is_queued


def make_live(parts: IntakeParts, tag: str, digest: str) -> None:
    parts.intake.receive("local", [event(tag=tag, digest=digest)])
    lease = parts.ledger.begin(f"a.b/team/web:{tag}", worker="w")
    assert lease is not None
    parts.ledger.finish(lease, RunResult(Outcome.PUBLISHED, digest=digest))


def test_a_deleted_tag_is_looked_for_and_what_was_never_there_is_not(
    parts: IntakeParts,
) -> None:
    parts.policy.path.write_text(
        "version: 1\nrules: [{allow: a.b/team/*, keep: {grace: 30d}}]\n"
    )
    make_live(parts, "1", D1)
    gone = [event(tag=tag, digest=None, action="delete") for tag in ("1", "2")]
    answer = parts.intake.receive("local", gone)
    assert [image.decision for image in answer.images] == [
        Verdict.QUEUED,
        Verdict.IGNORED,
    ]
    lease = parts.ledger.begin("a.b/team/web:1", worker="w")
    assert lease is not None
    assert lease.order == orders.LOOK
    assert parts.ledger.image("a.b/team/web:2") is None


def test_a_deleted_digest_is_looked_for_under_each_tag_that_has_it(
    parts: IntakeParts,
) -> None:
    parts.policy.path.write_text(
        "version: 1\nrules: [{allow: a.b/team/*, keep: {grace: 30d}}]\n"
    )
    for tag, digest in (("1", D1), ("2", D1), ("3", D2)):
        make_live(parts, tag, digest)
    gone = event(tag=None, digest=D1, action="delete")
    answer = parts.intake.receive("local", [gone, gone])
    names = [image.reference for image in answer.images]
    assert sorted(map(str, names)) == 2 * ["a.b/team/web:1"] + 2 * ["a.b/team/web:2"]
    assert {image.decision for image in answer.images} == {Verdict.QUEUED}
    other = event(tag=None, digest=f"sha256:{'7' * 64}", action="delete")
    assert not parts.intake.receive("local", [other]).is_queued


def test_nothing_is_looked_for_where_no_rule_has_keep(parts: IntakeParts) -> None:
    make_live(parts, "1", D1)
    for gone in (event(tag="1", action="delete"), event(tag=None, action="delete")):
        assert not parts.intake.receive("local", [gone]).is_queued
    image = parts.ledger.image("a.b/team/web:1")
    assert image is not None
    assert image.requested == image.done
