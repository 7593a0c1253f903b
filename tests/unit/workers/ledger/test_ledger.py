"""The ledger: what is accepted, what runs, what is live, as one reference's story."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.support.harness.ledger import D1, D2, D3, REFERENCE, Bench, bench_on
from tests.support.harness.redis_server import Flavour, RedisServer
from workers.ledger import (
    Delivery,
    Hint,
    Ledger,
    LedgerUnavailable,
    Outcome,
    Progress,
    State,
    Verdict,
    Wanted,
)

OTHER = "docker.io/library/debian:12"


@pytest.fixture(scope="module", params=["redis", "valkey"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("queue")
    with RedisServer(folder, cast("Flavour", request.param)) as running:
        yield running


@pytest.fixture
def bench(server: RedisServer) -> Iterator[Bench]:
    with bench_on(server) as made:
        yield made


# Accepting.


def test_a_first_push_is_queued_and_wants_a_job(bench: Bench) -> None:
    accepted = bench.push()
    assert accepted.verdict is Verdict.QUEUED
    assert accepted.job_id is not None
    assert accepted.number == 1
    image = bench.image()
    assert image.state is State.QUEUED
    assert image.since == bench.clock()
    assert image.hint == Hint(D1, bench.clock(), "hub", None, "ana")
    assert (image.requested, image.done) == (1, 0)


def test_a_job_id_is_made_of_what_rq_admits(bench: Bench) -> None:
    job_id = bench.push().job_id
    assert job_id is not None
    assert set(job_id) <= set("0123456789abcdef-")


def test_a_push_while_one_waits_is_answered_by_the_waiting_job(bench: Bench) -> None:
    bench.push(D1)
    second = bench.push(D2)
    assert (second.job_id, second.number) == (None, 2)
    lease = bench.begin()
    assert lease.number == 2
    assert lease.hint is not None
    assert lease.hint.digest == D2
    assert bench.publish(lease, D2) is None
    assert bench.image().state is State.LIVE


def test_references_do_not_get_in_each_others_way(bench: Bench) -> None:
    first, second = bench.push(), bench.push(reference=OTHER)
    assert first.job_id != second.job_id
    bench.begin()
    bench.begin(reference=OTHER)


def test_the_same_event_delivered_twice_is_one_request(bench: Bench) -> None:
    bench.push(unique_id="e1")
    again = bench.push(unique_id="e1")
    assert again.verdict is Verdict.DUPLICATE
    assert again.job_id is None
    assert bench.image().requested == 1


def test_the_same_id_from_another_source_is_another_event(bench: Bench) -> None:
    bench.push(unique_id="e1")
    assert bench.push(unique_id="e1", source="other").verdict is Verdict.QUEUED


def test_a_refused_event_does_not_use_up_its_id(bench: Bench) -> None:
    wanted = Wanted(REFERENCE, Verdict.REFUSED, "no rule", unique_id="e1")
    bench.ledger.accept(Delivery("r", "hub", bench.clock()), [wanted])
    assert bench.push(unique_id="e1").verdict is Verdict.QUEUED


def test_an_id_is_forgotten_after_a_day(bench: Bench) -> None:
    bench.push(unique_id="e1")
    keys = list(bench.connection.scan_iter("cvmfs-webhook:seen:*"))
    assert [0 < bench.connection.ttl(key) <= 86_400 for key in keys] == [True]


def test_events_without_an_id_are_never_taken_for_duplicates(bench: Bench) -> None:
    bench.push()
    assert bench.push().verdict is Verdict.QUEUED


def test_one_delivery_may_name_many_references_and_one_of_them_twice(
    bench: Bench,
) -> None:
    hint = Hint(D1, bench.clock(), "hub")
    accepted = bench.ledger.accept(
        Delivery("d", "hub", bench.clock()),
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
    delivery = bench.ledger.delivery("d")
    assert delivery is not None
    assert [event.verdict for event in delivery.events] == [
        Verdict.QUEUED,
        Verdict.QUEUED,
        Verdict.QUEUED,
        Verdict.REFUSED,
        Verdict.IGNORED,
    ]
    assert delivery.events[4].action == "delete"
    assert bench.ledger.image("docker.io/evil/x:1") is not None


def test_a_delivery_without_events_is_recorded(bench: Bench) -> None:
    assert bench.ledger.accept(Delivery("empty", "hub", bench.clock()), []) == []
    delivery = bench.ledger.delivery("empty")
    assert delivery is not None
    assert delivery.events == ()


def test_deliveries_are_listed_newest_first(bench: Bench) -> None:
    for _ in range(3):
        bench.push()
        bench.clock.passes(1)
    assert [d.id for d in bench.ledger.deliveries(2)] == ["d3", "d2"]
    assert bench.ledger.delivery("d9") is None


def test_what_a_sender_writes_breaks_out_of_nothing(bench: Bench) -> None:
    nasty = 'x\n"},\ud800\x1b[2J\0 ' + "a" * 10_000
    hint = Hint(D1, bench.clock(), "hub", event_id=nasty, actor=nasty)
    wanted = Wanted(REFERENCE, Verdict.QUEUED, nasty, hint, unique_id=nasty)
    delivered = Delivery("d", "hub", bench.clock())
    accepted = bench.ledger.accept(delivered, [wanted, wanted])
    assert [one.verdict for one in accepted] == [Verdict.QUEUED, Verdict.DUPLICATE]
    delivery = bench.ledger.delivery("d")
    assert delivery is not None
    event = delivery.events[0]
    assert event.actor is not None
    assert len(event.actor) <= 256
    assert event.reason.isprintable()
    lease = bench.begin()
    bench.ledger.finish(lease, Outcome.FAILED, reason=nasty)
    reason = bench.image().reason
    assert reason is not None
    assert reason.isprintable()
    assert len(reason) <= 2000
    assert bench.ledger.runs(REFERENCE)[0].reason == reason


# Refusing.


def test_a_refused_reference_is_recorded_with_its_reason(bench: Bench) -> None:
    refused = bench.refuse(reason="not a namespace of the experiment")
    assert (refused.verdict, refused.job_id) == (Verdict.REFUSED, None)
    image = bench.image()
    assert image.state is State.REFUSED
    assert image.reason == "not a namespace of the experiment"
    assert bench.ledger.begin(REFERENCE, worker="w") is None


def test_a_refused_push_leaves_what_is_live_alone(bench: Bench) -> None:
    bench.make_live()
    bench.refuse()
    assert bench.image().state is State.LIVE


def test_a_refused_push_leaves_what_waits_alone(bench: Bench) -> None:
    bench.push()
    bench.refuse()
    assert bench.image().state is State.QUEUED


def test_what_was_refused_once_is_queued_when_it_is_allowed(bench: Bench) -> None:
    bench.refuse()
    assert bench.push().job_id is not None
    image = bench.image()
    assert (image.state, image.reason) == (State.QUEUED, None)


# Running.


def test_a_run_walks_through_its_stages_and_goes_live(bench: Bench) -> None:
    bench.push()
    lease = bench.begin()
    assert bench.image().state is State.RESOLVING
    bench.clock.passes(1)
    bench.ledger.stage(lease, State.FETCHING, digest=D1)
    bench.clock.passes(2)
    bench.ledger.progress(lease, Progress(1, 3, 10, 100))
    image = bench.image()
    assert image.state is State.FETCHING
    assert image.progress == Progress(1, 3, 10, 100)
    assert image.is_running
    assert image.last_run is not None
    assert image.last_run.outcome is None
    bench.ledger.stage(lease, State.CONVERTING, progress=Progress(3, 3, 100, 100))
    bench.clock.passes(4)
    bench.ledger.stage(lease, State.PUBLISHING)
    bench.clock.passes(8)
    assert bench.publish(lease, revision=7) is None

    image = bench.image()
    assert image.state is State.LIVE
    assert image.since == bench.clock()
    assert (image.digest, image.live_digest) == (D1, D1)
    assert (image.repository, image.revision) == ("unpacked.example.org", 7)
    assert image.path == "/registry.example.org/atlas/analysis:v1"
    assert image.progress is None
    assert not image.is_running
    run = image.last_run
    assert run is not None
    assert run == bench.ledger.runs(REFERENCE)[0]
    assert run.outcome is Outcome.PUBLISHED
    assert run.digest == D1
    assert run.seconds_by_stage == {
        "resolving": 1,
        "fetching": 2,
        "converting": 4,
        "publishing": 8,
    }
    assert run.ended == run.started + 15
    assert [event.state for event in bench.ledger.events()] == [
        State.QUEUED,
        State.RESOLVING,
        State.FETCHING,
        State.CONVERTING,
        State.PUBLISHING,
        State.LIVE,
    ]


def test_only_one_job_runs_for_one_reference(bench: Bench) -> None:
    bench.push()
    bench.begin()
    assert bench.ledger.begin(REFERENCE, worker="w2") is None
    bench.push()
    assert bench.ledger.begin(REFERENCE, worker="w2") is None


def test_nothing_begins_when_nothing_is_owed(bench: Bench) -> None:
    assert bench.ledger.begin(REFERENCE, worker="w") is None
    bench.make_live()
    assert bench.ledger.begin(REFERENCE, worker="w") is None


def test_a_push_during_a_run_leads_to_another_run(bench: Bench) -> None:
    bench.push(D1)
    lease = bench.begin()
    assert bench.push(D2).job_id is None
    again = bench.publish(lease, D1)
    assert again is not None
    assert again.job_id is not None
    image = bench.image()
    assert (image.state, image.live_digest) == (State.QUEUED, D1)
    assert bench.publish(bench.begin(), D2) is None
    image = bench.image()
    assert (image.state, image.live_digest) == (State.LIVE, D2)


def test_many_pushes_during_a_run_lead_to_one_other_run(bench: Bench) -> None:
    bench.push()
    lease = bench.begin()
    for _ in range(20):
        assert bench.push(D2).job_id is None
    assert bench.publish(lease) is not None
    assert bench.publish(bench.begin(), D2) is None


def test_pushing_one_two_one_runs_three_times(bench: Bench) -> None:
    for digest in (D1, D2, D1):
        assert bench.push(digest).job_id is not None
        assert bench.publish(bench.begin(), digest) is None
    runs = bench.ledger.runs(REFERENCE)
    assert [run.digest for run in runs] == [D1, D2, D1]
    assert {run.outcome for run in runs} == {Outcome.PUBLISHED}


def test_work_is_overtaken_by_a_newer_push_twice_and_then_completes(
    bench: Bench,
) -> None:
    bench.push()
    for stops in range(2):
        lease = bench.begin()
        assert lease.overtaken == stops
        assert not bench.ledger.is_overtaken(lease)
        bench.push(D2)
        assert bench.ledger.is_overtaken(lease)
        assert bench.ledger.finish(lease, Outcome.SUPERSEDED) is not None
    lease = bench.begin()
    bench.push(D3)
    assert not bench.ledger.is_overtaken(lease)
    assert bench.publish(lease, D2) is not None
    lease = bench.begin()
    assert lease.overtaken == 0


def test_a_run_that_finds_the_tag_moved_is_followed_by_another(bench: Bench) -> None:
    bench.push()
    again = bench.ledger.finish(bench.begin(), Outcome.SUPERSEDED)
    assert again is not None
    assert bench.begin().number == 2


def test_runs_kept_are_bounded(bench: Bench) -> None:
    for _ in range(52):
        bench.make_live()
    assert len(bench.ledger.runs(REFERENCE, 100)) == 50


# Live.


def test_a_live_image_stays_live_while_a_look_finds_it_unchanged(bench: Bench) -> None:
    bench.make_live()
    since = bench.image().since
    bench.clock.passes(60)
    assert bench.push(D1).job_id is not None
    states = [bench.image().state]
    lease = bench.begin()
    states.append(bench.image().state)
    bench.ledger.stage(lease, State.FETCHING, digest=D1)
    states.append(bench.image().state)
    bench.ledger.finish(lease, Outcome.UNCHANGED)
    states.append(bench.image().state)
    assert set(states) == {State.LIVE}
    assert bench.image().since == since


def test_an_unchanged_image_is_live_since_it_was_published(bench: Bench) -> None:
    bench.make_live()
    published = bench.clock()
    bench.clock.passes(60)
    bench.push(None)
    assert bench.image().state is State.QUEUED
    lease = bench.begin()
    bench.ledger.finish(lease, Outcome.UNCHANGED, digest=D1)
    image = bench.image()
    assert (image.state, image.since) == (State.LIVE, published)
    assert image.revision == 1


def test_a_run_that_learns_that_the_live_digest_is_current_says_so_at_once(
    bench: Bench,
) -> None:
    bench.make_live()
    bench.push(D2)
    lease = bench.begin()
    assert bench.image().state is State.RESOLVING
    bench.ledger.stage(lease, State.FETCHING, digest=D1)
    assert bench.image().state is State.LIVE


def test_a_forced_rebuild_of_what_is_live_is_live_all_the_while(bench: Bench) -> None:
    bench.make_live()
    bench.clock.passes(60)
    bench.ledger.request(REFERENCE, source="operator", forced=True)
    lease = bench.begin()
    assert lease.forced
    bench.ledger.stage(lease, State.CONVERTING, digest=D1)
    assert bench.image().state is State.LIVE
    bench.publish(lease, D1, revision=2)
    image = bench.image()
    assert (image.revision, image.since) == (2, bench.clock())
    bench.push(D2)
    assert not bench.begin().forced


def test_a_forced_request_during_a_run_forces_the_next(bench: Bench) -> None:
    bench.push()
    lease = bench.begin()
    assert not lease.forced
    bench.ledger.request(REFERENCE, source="operator", forced=True)
    bench.publish(lease)
    assert bench.begin().forced


def test_a_failed_run_after_a_newer_push_is_failed_though_the_old_is_live(
    bench: Bench,
) -> None:
    bench.make_live(D1)
    bench.push(D2)
    lease = bench.begin()
    bench.ledger.finish(lease, Outcome.FAILED, digest=D2, reason="no such layer")
    image = bench.image()
    assert (image.state, image.reason) == (State.FAILED, "no such layer")
    assert image.live_digest == D1


def test_a_failed_look_at_what_is_live_leaves_it_live(bench: Bench) -> None:
    bench.make_live(D1)
    bench.push(D1)
    bench.ledger.finish(bench.begin(), Outcome.FAILED, reason="registry down")
    assert bench.image().state is State.LIVE


def test_the_worker_may_refuse_what_the_front_allowed(bench: Bench) -> None:
    bench.push()
    bench.ledger.finish(bench.begin(), Outcome.REFUSED, reason="private image")
    image = bench.image()
    assert (image.state, image.reason) == (State.REFUSED, "private image")
    assert image.done == image.requested


def test_refused_before_the_registry_was_asked_what_is_live_stays_live(
    bench: Bench,
) -> None:
    bench.make_live()
    bench.push(D2)
    bench.ledger.finish(bench.begin(), Outcome.REFUSED, reason="no rule")
    assert bench.image().state is State.LIVE


# Retrying.


def test_a_failure_that_may_pass_is_tried_again_at_its_time(bench: Bench) -> None:
    bench.push()
    lease = bench.begin()
    at = bench.clock() + 40
    finished = bench.ledger.finish(
        lease, Outcome.FAILED, reason="registry answers 503", next_try=at
    )
    assert finished is None
    image = bench.image()
    assert (image.state, image.next_try) == (State.FAILED, at)
    assert bench.ledger.next_due() == 40
    assert bench.ledger.owed(set()) == []
    assert bench.ledger.begin(REFERENCE, worker="w") is None
    bench.clock.passes(40)
    (job,) = bench.ledger.owed(set())
    assert job.job_id is not None
    assert bench.image().state is State.QUEUED
    lease = bench.begin()
    assert lease.attempt == 2
    assert lease.number == 1


def test_a_push_does_not_wait_for_the_retry_and_counts_from_one(bench: Bench) -> None:
    bench.push(D1)
    at = bench.clock() + 4000
    bench.ledger.finish(bench.begin(), Outcome.FAILED, reason="503", next_try=at)
    assert bench.push(D2).job_id is not None
    assert bench.image().next_try is None
    assert bench.begin().attempt == 1


def test_a_push_during_a_run_that_fails_is_run_at_once(bench: Bench) -> None:
    bench.push(D1)
    lease = bench.begin()
    bench.push(D2)
    at = bench.clock() + 4000
    again = bench.ledger.finish(lease, Outcome.FAILED, reason="503", next_try=at)
    assert again is not None
    assert bench.begin().attempt == 1


def test_a_failure_that_does_not_pass_is_left_alone(bench: Bench) -> None:
    bench.push()
    bench.ledger.finish(bench.begin(), Outcome.FAILED, reason="schema 1")
    assert bench.ledger.next_due() is None
    assert bench.image().next_try is None


# The hint.


def test_an_old_event_that_comes_late_does_not_replace_a_newer_hint(
    bench: Bench,
) -> None:
    now = bench.clock()
    bench.push(D2, time=now)
    bench.push(D1, time=now - 100)
    hint = bench.begin().hint
    assert hint is not None
    assert hint.digest == D2


def test_a_request_without_a_hint_keeps_the_one_that_is_not_answered_yet(
    bench: Bench,
) -> None:
    bench.push(D2)
    bench.ledger.request(REFERENCE, source="operator")
    hint = bench.begin().hint
    assert hint is not None
    assert hint.digest == D2


def test_a_request_without_a_hint_forgets_the_one_that_was_answered(
    bench: Bench,
) -> None:
    bench.make_live(D1)
    bench.ledger.request(REFERENCE, source="operator")
    assert bench.begin().hint is None


# Leases.


def test_a_lost_lease_changes_nothing(bench: Bench) -> None:
    bench.push()
    lost = bench.begin("w1")
    bench.clock.passes(31)
    held = bench.begin("w2")
    before = bench.image()
    assert not bench.ledger.keep_alive(lost)
    assert bench.ledger.is_overtaken(lost)
    bench.ledger.stage(lost, State.PUBLISHING, digest=D3)
    bench.ledger.progress(lost, Progress(9, 9, 9, 9))
    assert bench.ledger.finish(lost, Outcome.FAILED, reason="x") is None
    assert bench.image() == before
    assert bench.publish(held) is None
    assert bench.image().state is State.LIVE


def test_who_published_with_a_lost_lease_is_checked_by_another_run(
    bench: Bench,
) -> None:
    bench.push(D1)
    lost = bench.begin("w1")
    bench.clock.passes(31)
    bench.publish(bench.begin("w2"), D2, revision=2)
    again = bench.publish(lost, D1, revision=3)
    assert again is not None
    image = bench.image()
    assert (image.live_digest, image.revision) == (D2, 2)
    bench.publish(bench.begin("w2"), D2, revision=4)
    assert bench.image().revision == 4


def test_a_lease_that_ran_out_but_was_not_taken_is_still_the_holders(
    bench: Bench,
) -> None:
    bench.push()
    lease = bench.begin()
    bench.clock.passes(100)
    assert bench.ledger.keep_alive(lease)
    assert bench.ledger.begin(REFERENCE, worker="w2") is None
    assert bench.publish(lease) is None


def test_a_lease_that_is_kept_alive_is_not_taken(bench: Bench) -> None:
    bench.push()
    lease = bench.begin()
    for _ in range(10):
        bench.clock.passes(25)
        assert bench.ledger.keep_alive(lease)
        assert bench.ledger.owed(set()) == []
    assert bench.ledger.begin(REFERENCE, worker="w2") is None


def test_saying_finish_twice_is_saying_it_once(bench: Bench) -> None:
    bench.push()
    lease = bench.begin()
    bench.push()
    first = bench.publish(lease)
    second = bench.publish(lease)
    assert first is not None
    assert second is not None
    assert first.job_id == second.job_id
    assert len(bench.ledger.runs(REFERENCE)) == 1


# Asking.


def test_images_are_listed_counted_and_searched_newest_change_first(
    bench: Bench,
) -> None:
    names = [f"docker.io/atlas/a{i}:1" for i in range(5)]
    for name in names:
        bench.clock.passes(1)
        bench.push(reference=name)
    bench.clock.passes(1)
    bench.refuse("docker.io/evil/b:1")
    page = bench.ledger.images(1, 2)
    assert page.total == 6
    assert [image.reference for image in page.images] == [names[4], names[3]]
    found = bench.ledger.images(search="atlas/a3")
    assert [image.reference for image in found.images] == [names[3]]
    refused = bench.ledger.images(state=State.REFUSED)
    assert [image.reference for image in refused.images] == ["docker.io/evil/b:1"]
    counts = bench.ledger.counts()
    assert set(counts) == set(State)
    assert (counts[State.QUEUED], counts[State.REFUSED]) == (5, 1)
    bench.clock.passes(1)
    bench.begin(reference=names[0])
    assert bench.ledger.counts()[State.RESOLVING] == 1
    assert bench.ledger.images().images[0].reference == names[0]


def test_events_can_be_followed_from_where_one_left_off(bench: Bench) -> None:
    bench.push()
    (first,) = bench.ledger.events()
    assert (first.reference, first.state) == (REFERENCE, State.QUEUED)
    lease = bench.begin()
    bench.publish(lease, revision=5)
    later = bench.ledger.events(after=first.id)
    assert [event.state for event in later] == [State.RESOLVING, State.LIVE]
    assert (later[1].digest, later[1].revision) == (D1, 5)
    assert bench.ledger.events(after=later[1].id) == []
    assert bench.ledger.events(limit=1) == [later[1]]


def test_an_unknown_reference_has_no_record(bench: Bench) -> None:
    assert bench.ledger.image(REFERENCE) is None
    assert bench.ledger.runs(REFERENCE) == []
    assert bench.ledger.images().total == 0
    assert bench.ledger.deliveries() == []


def test_the_servers_own_clock_is_used_unless_told_otherwise(
    server: RedisServer, bench: Bench
) -> None:
    ledger = Ledger(bench.connection)
    ledger.request(REFERENCE, source="operator")
    seconds, microseconds = bench.connection.time()
    image = ledger.image(REFERENCE)
    assert image is not None
    assert abs(image.since - (seconds + microseconds / 1e6)) < 60
    due = ledger.next_due()
    assert due is not None
    assert 0 < due <= 15


def test_a_connection_that_decodes_will_do(server: RedisServer, bench: Bench) -> None:
    bench.make_live()
    keywords = bench.connection.connection_pool.connection_kwargs
    assert not keywords.get("decode_responses")
    from redis import Redis  # noqa: PLC0415 - only here by its own name

    with Redis.from_url(server.url, decode_responses=True) as decoding:
        ledger = Ledger(decoding, clock=bench.clock)
        assert ledger.image(REFERENCE) == bench.image()
        assert ledger.events() == bench.ledger.events()
        assert ledger.deliveries() == bench.ledger.deliveries()
        accepted = ledger.request(REFERENCE, source="operator")
        assert accepted.job_id is not None
        assert [job.job_id for job in ledger.owed({accepted.job_id})] == []


@pytest.mark.slow
def test_a_server_that_is_gone_is_one_error_of_ours(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, server.client() as connection:
        ledger = Ledger(connection)
        server.kill()
        with pytest.raises(LedgerUnavailable, match="queue server"):
            ledger.request(REFERENCE, source="operator")
        with pytest.raises(LedgerUnavailable):
            ledger.image(REFERENCE)
        problem = ledger.durability_problem()
        assert problem is not None
        assert "does not answer" in problem
