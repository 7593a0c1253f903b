"""A tag that is to go is asked about once more, and may stay."""

from tests.support.harness.jobs import JobRunner
from tests.support.harness.reconciler import DAY, MINUTE, NAME, ReconcilerDriver
from tests.support.images.oci import build_image, tar_of
from workers.ledger import Outcome, State


def surplus(runner: JobRunner, watch: ReconcilerDriver, *, more: str = "") -> None:
    """Let v1 be one tag too many, and its grace time be over."""
    runner.allow(watch="{every: 15m}", keep="{newest: 1, grace: 1d}")
    watch.publish("v1", "v2")
    assert watch.found().surplus == ("v1",)
    runner.clock.passes(DAY)


def test_a_tag_that_moves_is_new_again(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    surplus(runner, watch)
    watch.push("v1", b"moved")
    found = watch.found()
    assert (found.pushed, found.expired) == (("v1",), ())
    watch.work("v1")
    assert watch.found().surplus == ("v2",)
    assert watch.found(DAY // MINUTE).expired == ("v2",)


def test_a_push_that_comes_before_the_job_wins(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    surplus(runner, watch)
    assert watch.found().expired == ("v1",)
    image = watch.push("v1", b"moved")
    runner.want(f"{NAME}:v1", image.digest)
    watch.work("v1")
    assert runner.image(f"{NAME}:v1").live_digest == image.digest


def test_a_tag_that_has_moved_without_a_word_does_not_go(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    surplus(runner, watch)
    runner.allow(keep="{newest: 1, grace: 1d}")  # nobody asks what it leads to
    image = watch.push("v1", b"moved")
    assert watch.found(60).expired == ("v1",)
    watch.work("v1")
    assert runner.image(f"{NAME}:v1").live_digest == image.digest


def test_what_somebody_pushes_at_that_moment_is_not_made_to_go(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    surplus(runner, watch)
    moved = build_image([tar_of({"motd": b"moved"})])

    def meanwhile() -> None:
        runner.registry.hold_image(NAME, "v1", moved)
        runner.want(f"{NAME}:v1", moved.digest)

    runner.when_registry_is_asked("/manifests/v1", meanwhile, method="HEAD")
    assert watch.found().expired == ()
    watch.work("v1")
    assert runner.image(f"{NAME}:v1").live_digest == moved.digest


def test_what_became_new_enough_stays_although_it_was_to_go(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    surplus(runner, watch)
    assert watch.found().expired == ("v1",)
    runner.allow(watch="{every: 15m}", keep="{newest: 2, grace: 1d}")
    watch.work("v1")
    record = runner.image(f"{NAME}:v1")
    assert record.state is State.LIVE
    assert record.last_run is not None
    assert record.last_run.outcome is Outcome.UNCHANGED
