"""What nobody told us of is found by asking, and goes the way of what is told."""

import json

import pytest
from click.testing import CliRunner, Result

from tests.support.harness.jobs import JobRunner
from tests.support.images.oci import Image, build_image, tar_of
from tests.support.registries.misbehaving_server import Reply
from webhook.cli import main
from webhook.intake.intake import Intake, NotKept
from webhook.reconcile.look import LookResult, RegistryLook
from webhook.reconcile.reconciler import Reconciler
from workers.ledger import Looks, Outcome, State, orders
from workers.policy import parse_policy
from workers.policy.watching import RECONCILER, overdue

NAME = "atlas/analysis"
MINUTE, DAY = 60, 86_400


class Watch:
    """A reconciler beside a job runner, on the same clock."""

    def __init__(self, runner: JobRunner) -> None:
        self.runner = runner
        front = runner.services.front
        self.looks = Looks(front.connection, clock=runner.clock)
        self.problem: str | None = None
        self.intake = Intake(
            runner.ledger,
            front.queue,
            runner.services.policy,
            durability=lambda: self.problem,
            clock=runner.clock,
        )
        self.reconciler = self.started()

    def started(self) -> Reconciler:
        """Return another one, which knows only what was remembered."""
        runner = self.runner
        looker = RegistryLook(
            runner.ledger,
            self.looks,
            runner.services.registry,
            self.intake,
            runner.services.front.queue,
        )
        return Reconciler(looker, runner.services.policy)

    def look(self) -> list[LookResult]:
        """Look at what is due."""
        return list(self.reconciler.round())

    def found(self, minutes: int = 15) -> LookResult:
        """Look at the only image repository when its time has come."""
        self.runner.clock.passes(minutes * MINUTE)
        (found,) = self.look()
        assert found.problem is None
        return found

    def work(self, *tags: str) -> None:
        for tag in tags:
            self.runner.run(f"{NAME}:{tag}")


@pytest.fixture
def watch(runner: JobRunner) -> Watch:
    runner.allow(watch="{every: 15m}")
    return Watch(runner)


def push(runner: JobRunner, tag: str, text: bytes = b"first") -> Image:
    """Put an image into the registry; nobody is told."""
    return runner.registry.push_image(NAME, tag, [tar_of({"motd": text})])


def publish(runner: JobRunner, *tags: str) -> None:
    """Push and publish, one a minute."""
    for tag in tags:
        push(runner, tag, tag.encode())
        runner.clock.passes(MINUTE)
        runner.publish(f"{NAME}:{tag}")


def test_a_push_whose_notification_was_lost_is_published(
    runner: JobRunner, watch: Watch
) -> None:
    publish(runner, "v1")
    assert watch.found().pushed == ()
    moved = push(runner, "v1", b"second")
    new = push(runner, "v2")
    assert watch.found().pushed == ("v1", "v2")
    watch.work("v1", "v2")
    assert runner.image(f"{NAME}:v1").live_digest == moved.digest
    assert runner.image(f"{NAME}:v2").live_digest == new.digest
    last_run = runner.image(f"{NAME}:v2").last_run
    assert last_run is not None
    assert last_run.source == RECONCILER
    (delivery,) = runner.ledger.deliveries()
    assert [event.reference for event in delivery.events] == [
        runner.reference(f"{NAME}:v1"),
        runner.reference(f"{NAME}:v2"),
    ]
    assert watch.found().pushed == ()


def test_what_was_there_before_is_left_alone_until_it_moves(
    runner: JobRunner, watch: Watch
) -> None:
    publish(runner, "known")
    push(runner, "old")
    assert watch.found().pushed == ()
    assert watch.found().pushed == ()
    push(runner, "old", b"moved")
    assert watch.found().pushed == ("old",)


def test_old_tags_are_fetched_where_the_rule_says_so(
    runner: JobRunner, watch: Watch
) -> None:
    publish(runner, "known")
    push(runner, "old")
    push(runner, "not-allowed")
    assert watch.found().pushed == ()
    runner.allow(watch="{every: 15m, existing: all}", tags="[known, old]")
    assert watch.found().pushed == ("old",)
    # What became of it is not asked for again and again, though it was forgotten.
    connection = runner.services.front.connection
    connection.delete(f"cvmfs-webhook:image:{runner.reference(f'{NAME}:old')}")
    assert watch.found().pushed == ()


def test_what_waits_or_runs_is_not_asked_for_again(
    runner: JobRunner, watch: Watch
) -> None:
    publish(runner, "v1")
    watch.found()
    image = push(runner, "v1", b"second")
    runner.want(f"{NAME}:v1", image.digest)
    assert watch.found().pushed == ()


def test_a_name_removed_by_hand_stays_away_until_it_is_pushed(
    runner: JobRunner, watch: Watch
) -> None:
    publish(runner, "v1")
    runner.ledger.request(
        runner.reference(f"{NAME}:v1"), source="operator", order="remove"
    )
    watch.work("v1")
    assert watch.found().pushed == ()
    push(runner, "v1", b"second")
    assert watch.found().pushed == ("v1",)


def test_a_look_is_made_when_its_time_has_come_also_after_a_restart(
    runner: JobRunner, watch: Watch
) -> None:
    publish(runner, "v1")
    assert len(watch.look()) == 1
    watch.reconciler = watch.started()
    runner.clock.passes(14 * MINUTE)
    assert watch.look() == []
    runner.clock.passes(1 * MINUTE)
    assert len(watch.look()) == 1


def test_two_reconcilers_do_not_look_at_once(runner: JobRunner, watch: Watch) -> None:
    publish(runner, "v1")
    with watch.looks.claim(f"{runner.registry.host}/{NAME}") as is_ours:
        assert is_ours
        (found,) = watch.look()
        assert "another process" in str(found.problem)
    assert len(watch.look()) == 1


def test_a_repository_that_a_rule_names_is_watched_from_the_start(
    runner: JobRunner, watch: Watch
) -> None:
    rule = f"{{allow: {runner.registry.host}/{NAME}, watch: {{every: 1m}}}}"
    runner.write_policy(f"version: 1\nrules: [{rule}]\n")
    push(runner, "old")
    assert watch.found().tags == 1
    push(runner, "v1")
    assert watch.found().pushed == ("v1",)


def test_repositories_are_found_where_the_registry_lists_them(
    runner: JobRunner, watch: Watch
) -> None:
    push(runner, "v1")
    assert watch.look() == []
    runner.registry.has_catalog = True
    assert watch.look() == []  # it was asked a moment ago
    runner.clock.passes(15 * MINUTE)
    (found,) = watch.look()
    assert (found.name, found.tags) == (f"{runner.registry.host}/{NAME}", 1)


def test_what_the_policy_watches_no_more_begins_anew_later(
    runner: JobRunner, watch: Watch
) -> None:
    publish(runner, "v1")
    watch.found()
    runner.allow()
    assert watch.look() == []
    push(runner, "v2")
    runner.allow(watch="{every: 15m}")
    assert watch.found().pushed == ()  # pushed when nobody wanted to know


def test_a_registry_that_does_not_answer_is_left_alone_for_as_long_as_it_wants(
    runner: JobRunner, watch: Watch
) -> None:
    publish(runner, "v1")

    def busy(_path: str, _reply: Reply) -> Reply:
        return Reply(429, {"Retry-After": "600"}, b"")

    runner.registry.spoil("GET", "/tags/list", busy, times=1)
    (found,) = watch.look()
    assert "429" in str(found.problem)
    runner.clock.passes(599)
    assert watch.look() == []
    runner.clock.passes(2)
    (found,) = watch.look()
    assert found.problem is None


def test_a_tag_that_cannot_be_had_keeps_nobody_from_the_others(
    runner: JobRunner, watch: Watch
) -> None:
    for name in ("a/bad", "b/good"):
        runner.registry.push_image(name, "v1", [tar_of({"motd": name.encode()})])
        runner.publish(f"{name}:v1")
    watch.look()
    for name in ("a/bad", "b/good"):
        runner.registry.push_image(name, "v2", [tar_of({"motd": b"new"})])
    runner.registry.push_image("a/bad", "broken", [tar_of({"motd": b"x"})])
    runner.registry.fail("HEAD", "/manifests/broken", status=500, times=2)
    runner.clock.passes(15 * MINUTE)
    bad, good = sorted(watch.look(), key=lambda found: found.name)
    assert (bad.pushed, good.pushed) == (("v2",), ("v2",))
    assert "500" in str(bad.problem)
    for pushed in ((), ("broken",)):  # which then is new
        runner.clock.passes(15 * MINUTE)
        bad, _ = sorted(watch.look(), key=lambda found: found.name)
        assert bad.pushed == pushed


def test_a_repository_that_is_hidden_keeps_nobody_from_the_others(
    runner: JobRunner, watch: Watch
) -> None:
    for name in ("a/bad", "b/good"):
        runner.registry.push_image(name, "v1", [tar_of({"motd": name.encode()})])
        runner.publish(f"{name}:v1")
    runner.registry.fail("GET", "/a/bad/tags/list", status=500, times=None)
    seen = set()
    for _ in range(5):
        seen |= {found.name for found in watch.look() if found.problem is None}
        runner.clock.passes(MINUTE)
    assert seen == {f"{runner.registry.host}/b/good"}


def test_a_registry_that_lists_nothing_for_once_changes_nothing(
    runner: JobRunner, watch: Watch
) -> None:
    runner.registry.has_catalog = True
    push(runner, "old")
    assert len(watch.look()) == 1
    new = push(runner, "v1")
    runner.registry.fail("GET", "/v2/_catalog", status=503, times=1)
    watch.reconciler = watch.started()
    assert watch.found().pushed == ("v1",)
    watch.work("v1")
    assert runner.image(f"{NAME}:v1").live_digest == new.digest


def test_what_nobody_may_see_is_not_shown_as_refused(
    runner: JobRunner, watch: Watch
) -> None:
    runner.registry.has_catalog = True
    runner.registry.push_image("secret/merger", "old", [tar_of({"motd": b"x"})])
    runner.registry.make_private("secret/merger")
    watch.found()
    runner.registry.push_image("secret/merger", "acme", [tar_of({"motd": b"y"})])
    assert watch.found().pushed == ()
    assert runner.ledger.references() == []
    runner.registry.make_public("secret/merger")
    assert watch.found().pushed == ("acme",)


def test_private_images_are_found_where_a_rule_publishes_them(
    runner: JobRunner, watch: Watch
) -> None:
    runner.allow(watch="{every: 15m, existing: all}", private="allow")
    runner.registry.has_catalog = True
    runner.registry.push_image("secret/merger", "acme", [tar_of({"motd": b"x"})])
    runner.registry.make_private("secret/merger")
    assert watch.found().pushed == ("acme",)


def test_a_clock_that_was_wrong_stops_no_looks(runner: JobRunner, watch: Watch) -> None:
    publish(runner, "v1")
    runner.clock.passes(365 * DAY)
    assert len(watch.look()) == 1
    runner.clock.passes(-365 * DAY)
    assert len(watch.look()) == 1


def test_what_comes_to_nothing_is_not_asked_for_at_each_look(
    runner: JobRunner, watch: Watch
) -> None:
    runner.registry.has_catalog = True
    runner.allow(watch="{every: 15m, existing: all}", to="nowhere.example.org")
    push(runner, "v1")
    assert watch.found().pushed == ("v1",)
    watch.work("v1")
    assert "nowhere.example.org" in str(runner.image(f"{NAME}:v1").reason)
    assert watch.found().pushed == ()
    assert watch.found(6 * 60).pushed == ("v1",)


def test_a_mistake_of_ours_ends_nothing(
    runner: JobRunner, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(runner, "v1")
    with monkeypatch.context() as patched:
        patched.setattr("webhook.reconcile.look.findings", None)
        (found,) = watch.look()
    assert found.problem == "internal error (TypeError)"
    assert watch.found().problem is None


def test_an_incomplete_list_of_tags_changes_nothing(
    runner: JobRunner, watch: Watch
) -> None:
    runner.allow(watch="{every: 15m}", keep="{grace: 1s, newest: 1}")
    publish(runner, "v1", "v2", "v3")
    runner.registry.delete_tag(NAME, "v3")
    runner.registry.page_tags = 1

    def broken(_path: str, reply: Reply) -> Reply:
        return Reply(200, reply.headers, b"<html>")

    runner.registry.spoil("GET", "last=v1", broken, times=1)
    (found,) = watch.look()
    assert "not JSON" in str(found.problem)
    assert (found.deleted, found.expired) == ((), ())
    assert watch.found().deleted == ("v3",)


def test_nothing_is_remembered_of_what_could_not_be_kept(
    runner: JobRunner, watch: Watch
) -> None:
    publish(runner, "v1")
    watch.found()
    push(runner, "v2")
    watch.problem = "the disk is full"
    runner.clock.passes(15 * MINUTE)
    with pytest.raises(NotKept):
        watch.look()
    watch.problem = None
    assert watch.found(0).pushed == ("v2",)


def test_what_is_no_image_is_passed_over(runner: JobRunner, watch: Watch) -> None:
    publish(runner, "v1")
    watch.found()
    runner.registry.push_manifest(NAME, "chart", b"{}", "application/vnd.helm.chart")
    push(runner, "v2")
    assert watch.found().pushed == ("v2",)


def test_a_job_that_was_given_up_for_trouble_is_tried_again_after_hours(
    runner: JobRunner, watch: Watch
) -> None:
    publish(runner, "v1")
    watch.found()
    image = push(runner, "v1", b"second")
    runner.registry.fail("GET", "/manifests/", status=503, times=10)
    runner.want(f"{NAME}:v1", image.digest)
    for _ in range(10):
        run = runner.run(f"{NAME}:v1")
        if run.next_try is not None:
            runner.wait_for_next_try(f"{NAME}:v1")
    assert "given up after 10" in str(run.reason)
    assert watch.found(60).pushed == ()
    assert watch.found(6 * 60).pushed == ("v1",)


def test_what_failed_for_its_own_sake_is_not_tried_again(
    runner: JobRunner, watch: Watch
) -> None:
    publish(runner, "v1")
    watch.found()
    image = runner.registry.push_image(NAME, "bad", [b"no tar"])
    runner.want(f"{NAME}:bad", image.digest)
    assert runner.run(f"{NAME}:bad").outcome is Outcome.FAILED
    assert watch.found(7 * 60).pushed == ()


def test_what_is_gone_upstream_goes_although_nobody_told_us(
    runner: JobRunner, watch: Watch
) -> None:
    runner.allow(watch="{every: 15m}", keep="{grace: 30d}")
    publish(runner, "v1", "v2")
    runner.registry.delete_tag(NAME, "v1")
    assert watch.found().deleted == ("v1",)
    watch.work("v1")
    record = runner.image(f"{NAME}:v1")
    assert record.gone_since is not None
    assert "removed on" in str(record.reason)
    assert watch.found().deleted == ()  # its time is running
    runner.services.front.connection.hset(
        f"cvmfs-webhook:image:{record.reference}", "gone_since", "1"
    )
    runner.wait_for_next_try(f"{NAME}:v1")
    watch.work("v1")
    assert runner.image(f"{NAME}:v1").state is State.REMOVED
    assert runner.image(f"{NAME}:v2").state is State.LIVE


def gone(runner: JobRunner, watch: Watch, since: float | None = None) -> None:
    """Let v1 have been deleted in the registry, and its grace time run."""
    runner.allow(watch="{every: 15m}", keep="{grace: 30d}")
    publish(runner, "v1", "v2")
    runner.registry.delete_tag(NAME, "v1")
    assert watch.found().deleted == ("v1",)
    watch.work("v1")
    if since is not None:
        key = f"cvmfs-webhook:image:{runner.reference(f'{NAME}:v1')}"
        runner.services.front.connection.hset(key, "gone_since", str(since))


def test_what_comes_back_within_its_grace_time_is_published(
    runner: JobRunner, watch: Watch
) -> None:
    gone(runner, watch)
    image = push(runner, "v1", b"second")
    assert watch.found().pushed == ("v1",)
    watch.work("v1")
    record = runner.image(f"{NAME}:v1")
    assert (record.live_digest, record.gone_since) == (image.digest, None)


@pytest.mark.parametrize("more", ["watch: {every: 15m}, ", ""])
def test_what_is_gone_a_second_time_has_all_of_its_grace_time_again(
    runner: JobRunner, watch: Watch, more: str
) -> None:
    gone(runner, watch, since=1.0)
    rule = f'{{allow: "{runner.registry.host}/**", {more}keep: {{grace: 30d}}}}'
    runner.write_policy(f"version: 1\nrules: [{rule}]\n")
    push(runner, "v1", b"v1")
    assert watch.found(60).pushed == ("v1",)
    watch.work("v1")
    runner.registry.delete_tag(NAME, "v1")
    assert watch.found(60).deleted == ("v1",)
    watch.work("v1")
    assert runner.image(f"{NAME}:v1").live_digest is not None


def test_one_bad_answer_when_it_is_to_go_does_not_keep_it_for_ever(
    runner: JobRunner, watch: Watch
) -> None:
    gone(runner, watch, since=1.0)
    runner.wait_for_next_try(f"{NAME}:v1")
    runner.registry.fail("GET", "/tags/list", status=403, times=1)
    watch.work("v1")
    assert runner.image(f"{NAME}:v1").live_digest is not None
    assert watch.found(6 * 60).deleted == ("v1",)
    watch.work("v1")
    assert runner.image(f"{NAME}:v1").state is State.REMOVED


def test_a_registry_that_contradicts_itself_is_not_asked_at_each_look(
    runner: JobRunner, watch: Watch
) -> None:
    runner.allow(watch="{every: 15m}", keep="{grace: 30d}")
    publish(runner, "v1", "v2")

    def hide(_path: str, reply: Reply) -> Reply:
        return Reply(200, reply.headers, b'{"tags": ["v2"]}')

    runner.registry.spoil("GET", "/tags/list", hide, times=None)
    assert watch.found().deleted == ("v1",)
    watch.work("v1")
    assert runner.image(f"{NAME}:v1").state is State.LIVE
    assert watch.found().deleted == ()
    assert watch.found(6 * 60).deleted == ("v1",)


def test_without_keep_what_is_gone_upstream_stays(
    runner: JobRunner, watch: Watch
) -> None:
    publish(runner, "v1", "v2")
    runner.registry.delete_tag(NAME, "v1")
    assert watch.found().deleted == ()


def test_rules_that_only_keep_are_looked_at_once_an_hour_and_push_nothing(
    runner: JobRunner, watch: Watch
) -> None:
    runner.allow(keep="{grace: 30d}")
    publish(runner, "v1", "v2")
    runner.registry.delete_tag(NAME, "v1")
    assert watch.found().deleted == ("v1",)
    push(runner, "v3")
    runner.clock.passes(59 * MINUTE)
    assert watch.look() == []
    assert watch.found(1).pushed == ()


def test_of_many_tags_the_newest_stay(runner: JobRunner, watch: Watch) -> None:
    runner.allow(watch="{every: 15m}", keep="{newest: 2, grace: 30d}")
    publish(runner, "v1", "v2", "v3", "v4")
    found = watch.found(2 * DAY // MINUTE)
    # Their grace time begins when they are found to be too many.
    assert (found.expired, found.surplus) == ((), ("v1", "v2"))
    publish(runner, "v5")
    found = watch.found(30 * DAY // MINUTE)
    assert (found.expired, found.surplus) == (("v1", "v2"), ("v3",))
    assert runner.image(f"{NAME}:v1").state is State.LIVE  # until the job has looked
    assert watch.found().expired == ()  # that is under way
    watch.work("v1", "v2")
    states = {tag: runner.image(f"{NAME}:{tag}").state for tag in ("v1", "v2", "v3")}
    assert states == {"v1": State.REMOVED, "v2": State.REMOVED, "v3": State.LIVE}
    assert runner.file(f"{NAME}:v1", "motd") is None
    last_run = runner.image(f"{NAME}:v1").last_run
    assert last_run is not None
    assert "keeps the newest 2 tags only" in str(last_run.reason)
    # The registry still has them, and that is no push.
    found = watch.found()
    assert (found.pushed, found.expired, found.surplus) == ((), (), ("v3",))


def test_publishing_the_same_again_makes_a_tag_no_newer(
    runner: JobRunner, watch: Watch
) -> None:
    runner.allow(watch="{every: 15m}", keep="{newest: 1, grace: 1d}")
    publish(runner, "v1", "v2")
    runner.clock.passes(MINUTE)
    runner.publish(f"{NAME}:v1", forced=True)
    assert watch.found().surplus == ("v1",)


def test_what_was_restored_by_hand_does_not_go(runner: JobRunner, watch: Watch) -> None:
    runner.allow(watch="{every: 15m}", keep="{newest: 1, grace: 1d}")
    publish(runner, "v1")
    first = runner.image(f"{NAME}:v1").live_digest
    push(runner, "v1", b"second")
    runner.publish(f"{NAME}:v1")
    order = orders.restore(str(first))
    runner.ledger.request(
        runner.reference(f"{NAME}:v1"), source="operator", order=order
    )
    watch.work("v1")
    publish(runner, "v2")
    assert watch.found(2 * DAY // MINUTE).surplus == ()


def test_a_rule_that_keeps_more_in_time_lets_nothing_go(
    runner: JobRunner, watch: Watch
) -> None:
    runner.allow(watch="{every: 15m}", keep="{newest: 1, grace: 1d}")
    publish(runner, "v1", "v2")
    assert watch.found().surplus == ("v1",)
    runner.allow(watch="{every: 15m}", keep="{newest: 2, grace: 1d}")
    assert watch.found(2 * DAY // MINUTE).surplus == ()
    runner.allow(watch="{every: 15m}", keep="{newest: 1, grace: 1d}")
    found = watch.found()  # its time begins anew
    assert (found.surplus, found.expired) == (("v1",), ())


def surplus(runner: JobRunner, watch: Watch, *, more: str = "") -> None:
    """Let v1 be one tag too many, and its grace time be over."""
    runner.allow(watch="{every: 15m}", keep="{newest: 1, grace: 1d}")
    publish(runner, "v1", "v2")
    assert watch.found().surplus == ("v1",)
    runner.clock.passes(DAY)


def test_a_tag_that_moves_is_new_again(runner: JobRunner, watch: Watch) -> None:
    surplus(runner, watch)
    push(runner, "v1", b"moved")
    found = watch.found()
    assert (found.pushed, found.expired) == (("v1",), ())
    watch.work("v1")
    assert watch.found().surplus == ("v2",)
    assert watch.found(DAY // MINUTE).expired == ("v2",)


def test_a_push_that_comes_before_the_job_wins(runner: JobRunner, watch: Watch) -> None:
    surplus(runner, watch)
    assert watch.found().expired == ("v1",)
    image = push(runner, "v1", b"moved")
    runner.want(f"{NAME}:v1", image.digest)
    watch.work("v1")
    assert runner.image(f"{NAME}:v1").live_digest == image.digest


def test_a_tag_that_has_moved_without_a_word_does_not_go(
    runner: JobRunner, watch: Watch
) -> None:
    surplus(runner, watch)
    runner.allow(keep="{newest: 1, grace: 1d}")  # nobody asks what it leads to
    image = push(runner, "v1", b"moved")
    assert watch.found(60).expired == ("v1",)
    watch.work("v1")
    assert runner.image(f"{NAME}:v1").live_digest == image.digest


def test_what_somebody_pushes_at_that_moment_is_not_made_to_go(
    runner: JobRunner, watch: Watch
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


def test_what_is_published_during_a_look_is_not_taken_for_what_was_there_before(
    runner: JobRunner, watch: Watch
) -> None:
    publish(runner, "v1")
    push(runner, "v1", b"second")
    moved = build_image([tar_of({"motd": b"third"})])

    def meanwhile() -> None:
        runner.registry.hold_image(NAME, "v1", moved)
        runner.want(f"{NAME}:v1", moved.digest)
        lease = runner.ledger.begin(runner.reference(f"{NAME}:v1"), worker="another")
        assert lease is not None
        runner.ledger.finish(lease, Outcome.PUBLISHED, digest=moved.digest)

    runner.when_registry_is_asked("/manifests/v1", meanwhile, method="HEAD")
    assert watch.found().pushed == ()
    assert watch.found().pushed == ()
    record = runner.image(f"{NAME}:v1")
    assert (record.state, record.live_digest) == (State.LIVE, moved.digest)


def test_what_became_new_enough_stays_although_it_was_to_go(
    runner: JobRunner, watch: Watch
) -> None:
    surplus(runner, watch)
    assert watch.found().expired == ("v1",)
    runner.allow(watch="{every: 15m}", keep="{newest: 2, grace: 1d}")
    watch.work("v1")
    record = runner.image(f"{NAME}:v1")
    assert record.state is State.LIVE
    assert record.last_run is not None
    assert record.last_run.outcome is Outcome.UNCHANGED


def test_each_rule_counts_its_own_tags(runner: JobRunner, watch: Watch) -> None:
    host = runner.registry.host
    runner.write_policy(
        f"""\
version: 1
rules:
  - {{allow: "{host}/**", tags: ["v*"]}}
  - {{allow: "{host}/**", keep: {{newest: 1, grace: 1d}}}}
"""
    )
    publish(runner, "v1", "v2", "nightly-1", "nightly-2")
    assert watch.found().surplus == ("nightly-1",)


# The command.


def command(runner: JobRunner, *words: str) -> Result:
    words = ("reconcile", *words, "--config", str(runner.config))
    return CliRunner().invoke(main, words)


def test_once_says_what_it_found(runner: JobRunner, watch: Watch) -> None:
    publish(runner, "v1")
    push(runner, "v1", b"second")
    result = command(runner, "--once")
    assert (result.exit_code, result.stderr) == (0, "")
    name = f"{runner.registry.host}/{NAME}"
    assert result.stdout == f"{name}: 1 tags; queued: v1\n"
    said = json.loads(command(runner, "--once", "--json").stdout)
    assert said == {
        "repositories": [
            {
                "repository": name,
                "tags": 1,
                "queued": [],
                "deleted": [],
                "not_kept": [],
                "not_kept_for_long": [],
                "problem": None,
            }
        ]
    }


def test_once_ends_with_try_again_where_a_registry_did_not_answer(
    runner: JobRunner, watch: Watch
) -> None:
    publish(runner, "v1")
    runner.registry.fail("GET", "/tags/list", status=503, times=1)
    result = command(runner, "--once")
    assert result.exit_code == 4
    assert "503" in result.stdout


def test_once_says_when_nothing_is_watched(runner: JobRunner) -> None:
    result = command(runner, "--once")
    assert (result.exit_code, "nothing to look at" in result.stdout) == (0, True)


def test_a_policy_that_cannot_be_read_is_said(runner: JobRunner) -> None:
    runner.write_policy("rules: [")
    result = command(runner, "--once")
    assert result.exit_code == 2
    assert "policy.yaml" in result.stderr


# Whether anybody asks at all.


@pytest.mark.parametrize(
    ("rule", "last_round", "is_late"),
    [
        ("watch: {every: 15m}", None, True),
        ("watch: {every: 15m}", 0.0, True),
        ("watch: {every: 15m}", 45 * MINUTE - 1.0, False),
        ("watch: {every: 1m}", 45 * MINUTE + 1.0, False),
        ("keep: {grace: 1d}", None, False),
    ],
)
def test_a_policy_that_watches_wants_somebody_to_ask(
    rule: str, last_round: float | None, *, is_late: bool
) -> None:
    policy = parse_policy(f"version: 1\nrules: [{{allow: a.b/c, {rule}}}]\n")
    said = overdue(policy, last_round, now=45.0 * MINUTE)
    assert (said is not None) is is_late
