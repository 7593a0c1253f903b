"""The ledger: what is accepted, what runs, what is live, as one reference's story."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import pytest

from tests.support.harness.ledger import (
    D1,
    D2,
    D3,
    REFERENCE,
    LedgerDriver,
)
from tests.support.harness.redis_server import Flavour, RedisServer
from workers.ledger import (
    Delivery,
    Hint,
    Ledger,
    LiveImage,
    Outcome,
    Progress,
    RunResult,
    State,
    Verdict,
    Wanted,
    orders,
)

OTHER = "docker.io/library/debian:12"


@pytest.fixture(scope="module", params=["redis", "valkey"])
def redis_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("queue")
    with RedisServer(folder, cast("Flavour", request.param)) as running:
        yield running


# Accepting.


def test_a_first_push_is_queued_and_wants_a_job(driver: LedgerDriver) -> None:
    accepted = driver.push()
    assert accepted.verdict is Verdict.QUEUED
    assert accepted.job_id is not None
    assert accepted.number == 1
    image = driver.image()
    assert image.state is State.QUEUED
    assert image.since == driver.clock()
    assert image.hint == Hint(D1, "hub", driver.clock(), None, "ana")
    assert (image.requested, image.done) == (1, 0)


def test_a_job_id_is_made_of_what_rq_admits(driver: LedgerDriver) -> None:
    job_id = driver.push().job_id
    assert job_id is not None
    assert set(job_id) <= set("0123456789abcdef-")


def test_a_push_while_one_waits_is_answered_by_the_waiting_job(
    driver: LedgerDriver,
) -> None:
    driver.push(D1)
    second = driver.push(D2)
    assert (second.job_id, second.number) == (None, 2)
    lease = driver.begin()
    assert lease.number == 2
    assert lease.hint is not None
    assert lease.hint.digest == D2
    assert driver.publish(lease, D2) is None
    assert driver.image().state is State.LIVE


def test_references_do_not_get_in_each_others_way(driver: LedgerDriver) -> None:
    first, second = driver.push(), driver.push(reference=OTHER)
    assert first.job_id != second.job_id
    driver.begin()
    driver.begin(reference=OTHER)


def test_the_same_event_delivered_twice_is_one_request(driver: LedgerDriver) -> None:
    driver.push(unique_id="e1")
    again = driver.push(unique_id="e1")
    assert again.verdict is Verdict.DUPLICATE
    assert again.job_id is None
    assert driver.image().requested == 1


def test_the_same_id_from_another_source_is_another_event(driver: LedgerDriver) -> None:
    driver.push(unique_id="e1")
    assert driver.push(unique_id="e1", source="other").verdict is Verdict.QUEUED


def test_a_refused_event_does_not_use_up_its_id(driver: LedgerDriver) -> None:
    wanted = Wanted(REFERENCE, Verdict.REFUSED, "no rule", unique_id="e1")
    driver.ledger.accept(Delivery("r", "hub", driver.clock()), [wanted])
    assert driver.push(unique_id="e1").verdict is Verdict.QUEUED


def test_an_id_is_forgotten_after_a_day(driver: LedgerDriver) -> None:
    driver.push(unique_id="e1")
    keys = list(driver.connection.scan_iter("cvmfs-webhook:seen:*"))
    assert [0 < driver.connection.ttl(key) <= 86_400 for key in keys] == [True]


def test_events_without_an_id_are_never_taken_for_duplicates(
    driver: LedgerDriver,
) -> None:
    driver.push()
    assert driver.push().verdict is Verdict.QUEUED


def test_one_delivery_may_name_many_references_and_one_of_them_twice(
    driver: LedgerDriver,
) -> None:
    hint = Hint(D1, "hub")
    accepted = driver.ledger.accept(
        Delivery("d", "hub", driver.clock()),
        [
            Wanted(REFERENCE, Verdict.QUEUED, "a", hint),
            Wanted(OTHER, Verdict.QUEUED, "b", hint),
            Wanted(REFERENCE, Verdict.QUEUED, "c", hint),
            Wanted("docker.io/evil/x:1", Verdict.REFUSED, "no rule"),
            Wanted(None, Verdict.IGNORED, "names no tag", action="delete"),
        ],
    )
    assert [one.job_id is not None for one in accepted] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert [one.number for one in accepted] == [1, 1, 2, 0, 0]
    delivery = driver.ledger.delivery("d")
    assert delivery is not None
    assert [event.verdict for event in delivery.events] == [
        Verdict.QUEUED,
        Verdict.QUEUED,
        Verdict.QUEUED,
        Verdict.REFUSED,
        Verdict.IGNORED,
    ]
    assert delivery.events[4].action == "delete"
    assert driver.ledger.image("docker.io/evil/x:1") is not None


def test_a_delivery_without_events_is_recorded(driver: LedgerDriver) -> None:
    assert driver.ledger.accept(Delivery("empty", "hub", driver.clock()), []) == []
    delivery = driver.ledger.delivery("empty")
    assert delivery is not None
    assert delivery.events == ()


# Refusing.


def test_a_refused_reference_is_recorded_with_its_reason(driver: LedgerDriver) -> None:
    refused = driver.refuse(reason="not a namespace of the experiment")
    assert (refused.verdict, refused.job_id) == (Verdict.REFUSED, None)
    image = driver.image()
    assert image.state is State.REFUSED
    assert image.reason == "not a namespace of the experiment"
    assert driver.ledger.begin(REFERENCE, worker="w") is None


def test_a_refused_push_leaves_what_is_live_alone(driver: LedgerDriver) -> None:
    driver.make_live()
    driver.refuse()
    assert driver.image().state is State.LIVE


def test_a_refused_push_leaves_what_waits_alone(driver: LedgerDriver) -> None:
    driver.push()
    driver.refuse()
    assert driver.image().state is State.QUEUED


def test_what_was_refused_once_is_queued_when_it_is_allowed(
    driver: LedgerDriver,
) -> None:
    driver.refuse()
    assert driver.push().job_id is not None
    image = driver.image()
    assert (image.state, image.reason) == (State.QUEUED, None)


# Running.


def test_a_run_walks_through_its_stages_and_goes_live(driver: LedgerDriver) -> None:
    driver.push()
    lease = driver.begin()
    assert driver.image().state is State.RESOLVING
    driver.clock.passes(1)
    driver.ledger.stage(lease, State.FETCHING, digest=D1)
    driver.clock.passes(2)
    driver.ledger.progress(lease, Progress(1, 3, 10, 100))
    image = driver.image()
    assert image.state is State.FETCHING
    assert image.progress == Progress(1, 3, 10, 100)
    assert image.is_running
    assert image.last_run is not None
    assert image.last_run.outcome is None
    driver.ledger.stage(lease, State.CONVERTING, progress=Progress(3, 3, 100, 100))
    driver.clock.passes(4)
    driver.ledger.stage(lease, State.PUBLISHING)
    driver.clock.passes(8)
    assert driver.publish(lease, revision=7) is None

    image = driver.image()
    assert image.state is State.LIVE
    assert image.since == driver.clock()
    assert (image.digest, image.live_digest) == (D1, D1)
    assert (image.repository, image.revision) == ("unpacked.example.org", 7)
    assert image.places == {"flat": "/registry.example.org/atlas/analysis:v1"}
    assert image.progress is None
    assert not image.is_running
    run = image.last_run
    assert run is not None
    assert run == driver.ledger.runs(REFERENCE)[0]
    assert run.outcome is Outcome.PUBLISHED
    assert run.digest == D1
    assert run.seconds_by_stage == {
        "resolving": 1,
        "fetching": 2,
        "converting": 4,
        "publishing": 8,
    }
    assert run.ended == run.started + 15
    assert [event.state for event in driver.ledger.events()] == [
        State.QUEUED,
        State.RESOLVING,
        State.FETCHING,
        State.CONVERTING,
        State.PUBLISHING,
        State.LIVE,
    ]


def test_notes_go_with_what_is_live(driver: LedgerDriver) -> None:
    for notes in (("It is old.", "It is odd."), ("It is new.",), ()):
        driver.push(D1)
        live = LiveImage({"flat": "/there"}, notes=notes)
        driver.ledger.finish(
            driver.begin(), RunResult(Outcome.PUBLISHED, digest=D1, live=live)
        )
        assert driver.image().notes == notes
    driver.push(D1)
    live = LiveImage({"flat": "/there"}, notes=("two\nlines",))
    driver.ledger.finish(
        driver.begin(), RunResult(Outcome.UNCHANGED, digest=D1, live=live)
    )
    assert driver.image().notes == ("two lines",)
    driver.push(D1)
    driver.ledger.finish(driver.begin(), RunResult(Outcome.REMOVED))
    assert driver.image().notes == ()


def test_only_one_job_runs_for_one_reference(driver: LedgerDriver) -> None:
    driver.push()
    driver.begin()
    assert driver.ledger.begin(REFERENCE, worker="w2") is None
    driver.push()
    assert driver.ledger.begin(REFERENCE, worker="w2") is None


def test_nothing_begins_when_nothing_is_owed(driver: LedgerDriver) -> None:
    assert driver.ledger.begin(REFERENCE, worker="w") is None
    driver.make_live()
    assert driver.ledger.begin(REFERENCE, worker="w") is None


def test_a_push_during_a_run_leads_to_another_run(driver: LedgerDriver) -> None:
    driver.push(D1)
    lease = driver.begin()
    assert driver.push(D2).job_id is None
    again = driver.publish(lease, D1)
    assert again is not None
    assert again.job_id is not None
    image = driver.image()
    assert (image.state, image.live_digest) == (State.QUEUED, D1)
    assert driver.publish(driver.begin(), D2) is None
    image = driver.image()
    assert (image.state, image.live_digest) == (State.LIVE, D2)


def test_many_pushes_during_a_run_lead_to_one_other_run(driver: LedgerDriver) -> None:
    driver.push()
    lease = driver.begin()
    for _ in range(20):
        assert driver.push(D2).job_id is None
    assert driver.publish(lease) is not None
    assert driver.publish(driver.begin(), D2) is None


def test_pushing_one_two_one_runs_three_times(driver: LedgerDriver) -> None:
    for digest in (D1, D2, D1):
        assert driver.push(digest).job_id is not None
        assert driver.publish(driver.begin(), digest) is None
    runs = driver.ledger.runs(REFERENCE)
    assert [run.digest for run in runs] == [D1, D2, D1]
    assert {run.outcome for run in runs} == {Outcome.PUBLISHED}


def test_work_is_overtaken_by_a_newer_push_twice_and_then_completes(
    driver: LedgerDriver,
) -> None:
    driver.push()
    for stops in range(2):
        lease = driver.begin()
        assert lease.overtaken == stops
        assert not driver.ledger.is_overtaken(lease)
        driver.push((D2, D1)[stops])
        assert driver.ledger.is_overtaken(lease)
        assert driver.ledger.finish(lease, RunResult(Outcome.SUPERSEDED)) is not None
    lease = driver.begin()
    driver.push(D3)
    assert not driver.ledger.is_overtaken(lease)
    assert driver.publish(lease, D2) is not None
    lease = driver.begin()
    assert lease.overtaken == 0


def test_a_removal_stops_a_run_however_many_were_stopped_before(
    driver: LedgerDriver,
) -> None:
    driver.push()
    for digest in (D2, D1):
        lease = driver.begin()
        driver.push(digest)
        driver.ledger.finish(lease, RunResult(Outcome.SUPERSEDED))
    lease = driver.begin()
    driver.push(D3)
    assert not driver.ledger.is_overtaken(lease)
    assert driver.ledger.may_publish([lease]) == [True]
    driver.ledger.request(REFERENCE, source="operator", order=orders.REMOVE)
    assert driver.ledger.is_overtaken(lease)
    assert driver.ledger.may_publish([lease]) == [False]


def test_a_lease_is_known_to_who_knows_its_holder(driver: LedgerDriver) -> None:
    assert driver.ledger.held(REFERENCE, worker="w1") is None
    driver.push()
    lease = driver.begin("w1")
    assert driver.ledger.held(REFERENCE, worker="w2") is None
    found = driver.ledger.held(REFERENCE, worker="w1")
    assert found == replace(lease, hint=None, hint_age=math.inf)
    driver.publish(lease)
    assert driver.ledger.held(REFERENCE, worker="w1") is None


def test_a_run_that_finds_the_tag_moved_is_followed_by_another(
    driver: LedgerDriver,
) -> None:
    driver.push()
    again = driver.ledger.finish(driver.begin(), RunResult(Outcome.SUPERSEDED))
    assert again is not None
    assert driver.begin().number == 2


# Live.


def test_a_live_image_stays_live_while_a_look_finds_it_unchanged(
    driver: LedgerDriver,
) -> None:
    driver.make_live()
    since = driver.image().since
    driver.clock.passes(60)
    assert driver.push(D1).job_id is not None
    states = [driver.image().state]
    lease = driver.begin()
    states.append(driver.image().state)
    driver.ledger.stage(lease, State.FETCHING, digest=D1)
    states.append(driver.image().state)
    driver.ledger.finish(lease, RunResult(Outcome.UNCHANGED))
    states.append(driver.image().state)
    assert set(states) == {State.LIVE}
    assert driver.image().since == since


def test_an_unchanged_image_is_live_since_it_was_published(
    driver: LedgerDriver,
) -> None:
    driver.make_live()
    published = driver.clock()
    driver.clock.passes(60)
    driver.push(None)
    assert driver.image().state is State.QUEUED
    lease = driver.begin()
    driver.ledger.finish(lease, RunResult(Outcome.UNCHANGED, digest=D1))
    image = driver.image()
    assert (image.state, image.since) == (State.LIVE, published)
    assert image.revision == 1


def test_a_run_that_learns_that_the_live_digest_is_current_says_so_at_once(
    driver: LedgerDriver,
) -> None:
    driver.make_live()
    driver.push(D2)
    lease = driver.begin()
    assert driver.image().state is State.RESOLVING
    driver.ledger.stage(lease, State.FETCHING, digest=D1)
    assert driver.image().state is State.LIVE


def test_a_forced_rebuild_of_what_is_live_is_live_all_the_while(
    driver: LedgerDriver,
) -> None:
    driver.make_live()
    driver.clock.passes(60)
    driver.ledger.request(REFERENCE, source="operator", forced=True)
    lease = driver.begin()
    assert lease.forced
    driver.ledger.stage(lease, State.CONVERTING, digest=D1)
    assert driver.image().state is State.LIVE
    driver.publish(lease, D1, revision=2)
    image = driver.image()
    assert (image.revision, image.since) == (2, driver.clock())
    driver.push(D2)
    assert not driver.begin().forced


def test_a_forced_request_during_a_run_forces_the_next(driver: LedgerDriver) -> None:
    driver.push()
    lease = driver.begin()
    assert not lease.forced
    driver.ledger.request(REFERENCE, source="operator", forced=True)
    driver.publish(lease)
    assert driver.begin().forced


def test_a_failed_run_after_a_newer_push_is_failed_though_the_old_is_live(
    driver: LedgerDriver,
) -> None:
    driver.make_live(D1)
    driver.push(D2)
    lease = driver.begin()
    driver.ledger.finish(
        lease, RunResult(Outcome.FAILED, digest=D2, reason="no such layer")
    )
    image = driver.image()
    assert (image.state, image.reason) == (State.FAILED, "no such layer")
    assert image.live_digest == D1


def test_a_failed_look_at_what_is_live_leaves_it_live(driver: LedgerDriver) -> None:
    driver.make_live(D1)
    driver.push(D1)
    driver.ledger.finish(
        driver.begin(), RunResult(Outcome.FAILED, reason="registry down")
    )
    assert driver.image().state is State.LIVE


def test_the_worker_may_refuse_what_the_front_allowed(driver: LedgerDriver) -> None:
    driver.push()
    driver.ledger.finish(
        driver.begin(), RunResult(Outcome.REFUSED, reason="private image")
    )
    image = driver.image()
    assert (image.state, image.reason) == (State.REFUSED, "private image")
    assert image.done == image.requested


def test_refused_before_the_registry_was_asked_what_is_live_stays_live(
    driver: LedgerDriver,
) -> None:
    driver.make_live()
    driver.push(D2)
    driver.ledger.finish(driver.begin(), RunResult(Outcome.REFUSED, reason="no rule"))
    assert driver.image().state is State.LIVE


# Retrying.


def test_a_failure_that_may_pass_is_tried_again_at_its_time(
    driver: LedgerDriver,
) -> None:
    driver.push()
    lease = driver.begin()
    at = driver.clock() + 40
    finished = driver.ledger.finish(
        lease, RunResult(Outcome.FAILED, reason="registry answers 503", next_try=at)
    )
    assert finished is None
    image = driver.image()
    assert (image.state, image.next_try) == (State.FAILED, at)
    assert driver.ledger.next_due() == 40
    assert driver.ledger.owed(set()) == []
    assert driver.ledger.begin(REFERENCE, worker="w") is None
    driver.clock.passes(40)
    (job,) = driver.ledger.owed(set())
    assert job.job_id is not None
    assert driver.image().state is State.QUEUED
    lease = driver.begin()
    assert lease.attempt == 2
    assert lease.number == 1


def test_a_push_does_not_wait_for_the_retry_and_counts_from_one(
    driver: LedgerDriver,
) -> None:
    driver.push(D1)
    at = driver.clock() + 4000
    driver.ledger.finish(
        driver.begin(), RunResult(Outcome.FAILED, reason="503", next_try=at)
    )
    assert driver.push(D2).job_id is not None
    assert driver.image().next_try is None
    assert driver.begin().attempt == 1


def test_a_push_during_a_run_that_fails_is_run_at_once(driver: LedgerDriver) -> None:
    driver.push(D1)
    lease = driver.begin()
    driver.push(D2)
    at = driver.clock() + 4000
    again = driver.ledger.finish(
        lease, RunResult(Outcome.FAILED, reason="503", next_try=at)
    )
    assert again is not None
    assert driver.begin().attempt == 1


def test_a_failure_that_does_not_pass_is_left_alone(driver: LedgerDriver) -> None:
    driver.push()
    driver.ledger.finish(driver.begin(), RunResult(Outcome.FAILED, reason="schema 1"))
    assert driver.ledger.next_due() is None
    assert driver.image().next_try is None


# The hint.


def test_an_old_event_that_comes_late_does_not_replace_a_newer_hint(
    driver: LedgerDriver,
) -> None:
    now = driver.clock()
    driver.push(D2, time=now)
    driver.push(D1, time=now - 100)
    hint = driver.begin().hint
    assert hint is not None
    assert hint.digest == D2


def test_a_request_without_a_hint_keeps_the_one_that_is_not_answered_yet(
    driver: LedgerDriver,
) -> None:
    driver.push(D2)
    driver.ledger.request(REFERENCE, source="operator")
    hint = driver.begin().hint
    assert hint is not None
    assert hint.digest == D2


def test_a_request_without_a_hint_forgets_the_one_that_was_answered(
    driver: LedgerDriver,
) -> None:
    driver.make_live(D1)
    driver.ledger.request(REFERENCE, source="operator")
    assert driver.begin().hint is None


# Leases.


def test_a_lost_lease_changes_nothing(driver: LedgerDriver) -> None:
    driver.push()
    lost = driver.begin("w1")
    driver.clock.passes(60)
    held = driver.begin("w2")
    before = driver.image()
    assert not driver.ledger.keep_alive(lost)
    assert driver.ledger.is_overtaken(lost)
    driver.ledger.stage(lost, State.PUBLISHING, digest=D3)
    driver.ledger.progress(lost, Progress(9, 9, 9, 9))
    assert driver.ledger.finish(lost, RunResult(Outcome.FAILED, reason="x")) is None
    assert driver.image() == before
    assert driver.publish(held) is None
    assert driver.image().state is State.LIVE


def test_who_published_with_a_lost_lease_is_checked_by_another_run(
    driver: LedgerDriver,
) -> None:
    driver.push(D1)
    lost = driver.begin("w1")
    driver.clock.passes(60)
    driver.publish(driver.begin("w2"), D2, revision=2)
    again = driver.publish(lost, D1, revision=3)
    assert again is not None
    image = driver.image()
    assert (image.live_digest, image.revision) == (D2, 2)
    driver.publish(driver.begin("w2"), D2, revision=4)
    assert driver.image().revision == 4


def test_a_lease_that_ran_out_but_was_not_taken_is_still_the_holders(
    driver: LedgerDriver,
) -> None:
    driver.push()
    lease = driver.begin()
    driver.clock.passes(100)
    assert driver.ledger.keep_alive(lease)
    assert driver.ledger.begin(REFERENCE, worker="w2") is None
    assert driver.publish(lease) is None


def test_a_lease_that_is_kept_alive_is_not_taken(driver: LedgerDriver) -> None:
    driver.push()
    lease = driver.begin()
    for _ in range(10):
        driver.clock.passes(25)
        assert driver.ledger.keep_alive(lease)
        assert driver.ledger.owed(set()) == []
    assert driver.ledger.begin(REFERENCE, worker="w2") is None


def test_saying_finish_twice_is_saying_it_once(driver: LedgerDriver) -> None:
    driver.push()
    lease = driver.begin()
    driver.push()
    first = driver.publish(lease)
    second = driver.publish(lease)
    assert first is not None
    assert second is not None
    assert first.job_id == second.job_id
    assert len(driver.ledger.runs(REFERENCE)) == 1


# Asking.


def test_the_servers_own_clock_is_used_unless_told_otherwise(
    redis_server: RedisServer, driver: LedgerDriver
) -> None:
    ledger = Ledger(driver.connection)
    ledger.request(REFERENCE, source="operator")
    seconds, microseconds = driver.connection.time()
    image = ledger.image(REFERENCE)
    assert image is not None
    assert abs(image.since - (seconds + microseconds / 1e6)) < 60
    due = ledger.next_due()
    assert due is not None
    assert 0 < due <= 15


def test_a_connection_that_decodes_will_do(
    redis_server: RedisServer, driver: LedgerDriver
) -> None:
    driver.make_live()
    keywords = driver.connection.connection_pool.connection_kwargs
    assert not keywords.get("decode_responses")
    from redis import Redis  # noqa: PLC0415 - only here by its own name

    with Redis.from_url(redis_server.url, decode_responses=True) as decoding:
        ledger = Ledger(decoding, clock=driver.clock)
        assert ledger.image(REFERENCE) == driver.image()
        assert ledger.events() == driver.ledger.events()
        assert ledger.deliveries() == driver.ledger.deliveries()
        accepted = ledger.request(REFERENCE, source="operator")
        assert accepted.job_id is not None
        assert [job.job_id for job in ledger.owed({accepted.job_id})] == []
