"""Thin images that a run has left behind, and receipts that do not tell of them."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.harness.jobs import FQRN, JobRunner, PublisherWithHooks
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.thin_images import (
    ELSEWHERE,
    FIRST,
    NAME,
    SAME_FOLDER,
    TEMPLATE,
    THIN,
    damage_receipt,
    is_published,
    open_thin_job_runner,
    publish,
    receipt,
    reference,
    rewrite_receipt,
    run_order,
    run_push,
    set_thin_template,
)
from tests.support.registries.fake_registry import FakeRegistry
from workers.jobs import run_job
from workers.ledger import Outcome, orders
from workers.registry.transport.transport import Answer, Transport


@pytest.fixture
def target() -> Iterator[FakeRegistry]:
    """The registry of the thin images."""
    with FakeRegistry() as registry:
        registry.deletes = {"digest"}  # as Distribution does
        yield registry


@pytest.fixture
def runner(
    redis_server: RedisServer, tmp_path: Path, target: FakeRegistry
) -> Iterator[JobRunner]:
    with open_thin_job_runner(redis_server, tmp_path, target.host) as opened:
        yield opened


# What fails, and may pass.


def test_a_deletion_that_fails_for_a_while_is_tried_again_with_the_removal(
    runner: JobRunner, target: FakeRegistry
) -> None:
    publish(runner, FIRST)
    target.fail("DELETE", "/manifests/", status=503, times=1)
    run = run_order(runner, orders.REMOVE)
    assert run.outcome is Outcome.FAILED
    assert "answered 503" in (run.reason or "")
    assert is_published(runner)
    runner.wait_for_next_try(NAME)
    assert runner.run(NAME).outcome is Outcome.REMOVED
    assert not target.tags_of(THIN)
    assert not is_published(runner)


def test_a_registry_that_never_answers_again_keeps_no_name_in_cvmfs(
    runner: JobRunner, target: FakeRegistry
) -> None:
    publish(runner, FIRST)
    target.fail("", "/manifests/", status=502)
    runs = [run_order(runner, orders.REMOVE)]
    while runs[-1].outcome is Outcome.FAILED:
        assert is_published(runner)
        runner.wait_for_next_try(NAME)
        runs.append(runner.run(NAME))
    assert len(runs) == 10
    assert runs[-1].outcome is Outcome.REMOVED
    assert f"{THIN}:v1 stays" in (runs[-1].reason or "")
    assert "answered 502" in (runs[-1].reason or "")
    assert not is_published(runner)


def test_an_old_one_that_could_not_be_deleted_for_a_while_goes_later(
    runner: JobRunner, target: FakeRegistry
) -> None:
    publish(runner, FIRST)
    set_thin_template(runner, f"{target.host}/{ELSEWHERE}")
    target.fail("DELETE", "/manifests/", status=429, times=1)
    assert run_push(runner).outcome is Outcome.FAILED
    revision = runner.revision
    runner.wait_for_next_try(NAME)
    assert runner.run(NAME).outcome is Outcome.UNCHANGED
    assert not target.tags_of(THIN)
    assert runner.revision == revision + 1  # in which the receipt forgets it
    assert not receipt(runner).former_thin


def test_a_removal_takes_along_what_was_left_behind(
    runner: JobRunner, target: FakeRegistry
) -> None:
    publish(runner, FIRST)
    target.fail("DELETE", "/manifests/", status=503)
    for template in (ELSEWHERE, SAME_FOLDER):
        set_thin_template(runner, f"{target.host}/{template}")
        assert run_push(runner).outcome is Outcome.FAILED
    assert set(target.tags_of(THIN)) == {"v1", "v1-thin"}
    assert target.tags_of("elsewhere/atlas/analysis")
    target.mend()
    assert run_order(runner, orders.REMOVE).outcome is Outcome.REMOVED
    assert not target.tags_of(THIN)
    assert not target.tags_of("elsewhere/atlas/analysis")


def test_who_has_lost_the_lease_deletes_nothing(
    runner: JobRunner, target: FakeRegistry
) -> None:
    publish(runner, FIRST)
    set_thin_template(runner, f"{target.host}/{ELSEWHERE}")
    runner.want(NAME)

    def freeze() -> None:
        """Let the process sleep until another one has taken over."""
        runner.clock.passes(3600)
        assert runner.ledger.begin(runner.reference(NAME), worker="another")

    runner.replace_publisher(
        lambda real: PublisherWithHooks(real, after_publish=freeze)
    )
    run_job(runner.services, reference(runner))
    assert not target.seen("DELETE")
    assert "v1" in target.tags_of(THIN)


class Killed(BaseException):
    """Nothing of ours catches it, as nothing catches SIGKILL."""


def killing_at(host: str, number: int, *, is_done: bool) -> Callable[..., Answer]:
    """Return a ``Transport.send`` that kills at the n-th word about a thin image.

    Before or after it has come in.
    """
    send = Transport.send
    calls = itertools.count(1)

    def mortal(transport: Transport, *words: str) -> Answer:
        if f"//{host}/" not in words[1] or next(calls) != number:
            return send(transport, *words)  # type: ignore[arg-type] # as they came
        if is_done:
            send(transport, *words).close()  # type: ignore[arg-type] # as they came
        raise Killed

    return mortal


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("is_removed", [False, True], ids=["renamed", "removed"])
def test_killed_at_any_word_about_thin_images_nothing_is_left_behind(
    runner: JobRunner,
    target: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
    is_done: bool,  # noqa: FBT001 - a parameter of the test
    is_removed: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    at = 0
    killed = True
    while killed:
        at += 1
        set_thin_template(runner, f"{target.host}/{TEMPLATE}")
        publish(runner, FIRST)
        assert set(target.tags_of(THIN)) == {"v1"}
        if is_removed:
            runner.ledger.request(
                runner.reference(NAME), source="operator", order=orders.REMOVE
            )
        else:
            set_thin_template(runner, f"{target.host}/{SAME_FOLDER}")
            runner.want(NAME)
        monkeypatch.setattr(
            Transport, "send", killing_at(target.host, at, is_done=is_done)
        )
        try:
            run_job(runner.services, reference(runner))
        except Killed:
            monkeypatch.undo()
            runner.expire_leases_and_claims()
            runner.ledger.owed(set())
            runner.expire_leases_and_claims()
            run_job(runner.services, reference(runner))
        else:
            killed = False
            monkeypatch.undo()
        left = set() if is_removed else {"v1-thin"}
        assert set(target.tags_of(THIN)) == left, at
        assert is_published(runner) is not is_removed, at
        assert not receipt(runner).former_thin, at
    assert at > (6 if is_removed else 10)


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("moment", ["before_publish", "after_publish"])
def test_killed_around_a_publication_nothing_is_left_behind(
    runner: JobRunner, target: FakeRegistry, moment: str, nth: int
) -> None:
    publish(runner, FIRST)
    set_thin_template(runner, f"{target.host}/{SAME_FOLDER}")
    runner.want(NAME)
    real = runner.services.publishers[FQRN]
    left = [nth]

    def kill() -> None:
        left[0] -= 1
        if not left[0]:
            raise Killed

    runner.replace_publisher(lambda real: PublisherWithHooks(real, **{moment: kill}))
    with pytest.raises(Killed):
        run_job(runner.services, reference(runner))
    runner.replace_publisher(lambda _: real)
    runner.expire_leases_and_claims()
    # Nor if it is called otherwise again by then.
    set_thin_template(runner, f"{target.host}/{ELSEWHERE}")
    assert runner.run(NAME).outcome in {Outcome.PUBLISHED, Outcome.UNCHANGED}
    assert not target.tags_of(THIN)
    assert set(target.tags_of("elsewhere/atlas/analysis")) == {"v1"}


# Receipts of other times.


def test_a_receipt_that_does_not_say_has_it_by_todays_template(
    runner: JobRunner, target: FakeRegistry
) -> None:
    publish(runner, FIRST)
    said = receipt(runner)
    assert str(said.thin) == f"{target.host}/{THIN}:v1"
    rewrite_receipt(runner, dataclasses.replace(said, thin=None))
    assert run_order(runner, orders.REMOVE).outcome is Outcome.REMOVED
    assert not target.tags_of(THIN)


def test_a_receipt_that_does_not_say_says_it_after_the_next_look(
    runner: JobRunner, target: FakeRegistry
) -> None:
    publish(runner, FIRST)
    said = receipt(runner)
    rewrite_receipt(runner, dataclasses.replace(said, thin=None))
    run_push(runner)
    assert str(receipt(runner).thin) == f"{target.host}/{THIN}:v1"
    assert "v1" in target.tags_of(THIN)
    assert not target.seen("DELETE")


def test_without_a_template_a_receipt_that_does_not_say_names_none(
    runner: JobRunner, target: FakeRegistry
) -> None:
    publish(runner, FIRST)
    said = receipt(runner)
    rewrite_receipt(runner, dataclasses.replace(said, thin=None))
    set_thin_template(runner, None)
    assert run_order(runner, orders.REMOVE).outcome is Outcome.REMOVED
    assert "v1" in target.tags_of(THIN)


@pytest.mark.parametrize("damage", [5, "A B", ["A B"], {}])
def test_a_damaged_receipt_only_costs_a_publication(
    runner: JobRunner, target: FakeRegistry, damage: object
) -> None:
    publish(runner, FIRST)
    damage_receipt(runner, thin=damage, former_thin=[damage])
    assert run_push(runner).outcome is Outcome.PUBLISHED
    assert str(receipt(runner).thin) == f"{target.host}/{THIN}:v1"
    damage_receipt(runner, thin=damage, former_thin=damage)
    assert run_order(runner, orders.REMOVE).outcome is Outcome.REMOVED
