"""What nobody told us of is found by asking, and goes the way of what is told."""

import json

import pytest
from click.testing import CliRunner, Result

from tests.support.harness.jobs import Workshop
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
    """A reconciler beside a workshop, on the same clock."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        front = shop.services.front
        self.looks = Looks(front.connection, clock=shop.clock)
        self.problem: str | None = None
        self.intake = Intake(
            shop.ledger,
            front.queue,
            shop.services.policy,
            durability=lambda: self.problem,
            clock=shop.clock,
        )
        self.reconciler = self.started()

    def started(self) -> Reconciler:
        """Return another one, which knows only what was remembered."""
        shop = self.shop
        looker = RegistryLook(
            shop.ledger,
            self.looks,
            shop.services.registry,
            self.intake,
            shop.services.front.queue,
        )
        return Reconciler(looker, shop.services.policy)

    def look(self) -> list[LookResult]:
        """Look at what is due."""
        return list(self.reconciler.round())

    def found(self, minutes: int = 15) -> LookResult:
        """Look at the only image repository when its time has come."""
        self.shop.clock.passes(minutes * MINUTE)
        (found,) = self.look()
        assert found.problem is None
        return found

    def work(self, *tags: str) -> None:
        for tag in tags:
            self.shop.run(f"{NAME}:{tag}")


@pytest.fixture
def watch(shop: Workshop) -> Watch:
    shop.allow(watch="{every: 15m}")
    return Watch(shop)


def push(shop: Workshop, tag: str, text: bytes = b"first") -> Image:
    """Put an image into the registry; nobody is told."""
    return shop.registry.push_image(NAME, tag, [tar_of({"motd": text})])


def publish(shop: Workshop, *tags: str) -> None:
    """Push and publish, one a minute."""
    for tag in tags:
        push(shop, tag, tag.encode())
        shop.clock.passes(MINUTE)
        shop.publish(f"{NAME}:{tag}")


def test_a_push_whose_notification_was_lost_is_published(
    shop: Workshop, watch: Watch
) -> None:
    publish(shop, "v1")
    assert watch.found().pushed == ()
    moved = push(shop, "v1", b"second")
    new = push(shop, "v2")
    assert watch.found().pushed == ("v1", "v2")
    watch.work("v1", "v2")
    assert shop.image(f"{NAME}:v1").live_digest == moved.digest
    assert shop.image(f"{NAME}:v2").live_digest == new.digest
    last_run = shop.image(f"{NAME}:v2").last_run
    assert last_run is not None
    assert last_run.source == RECONCILER
    (delivery,) = shop.ledger.deliveries()
    assert [event.reference for event in delivery.events] == [
        shop.reference(f"{NAME}:v1"),
        shop.reference(f"{NAME}:v2"),
    ]
    assert watch.found().pushed == ()


def test_what_was_there_before_is_left_alone_until_it_moves(
    shop: Workshop, watch: Watch
) -> None:
    publish(shop, "known")
    push(shop, "old")
    assert watch.found().pushed == ()
    assert watch.found().pushed == ()
    push(shop, "old", b"moved")
    assert watch.found().pushed == ("old",)


def test_old_tags_are_fetched_where_the_rule_says_so(
    shop: Workshop, watch: Watch
) -> None:
    publish(shop, "known")
    push(shop, "old")
    push(shop, "not-allowed")
    assert watch.found().pushed == ()
    shop.allow(watch="{every: 15m, existing: all}", tags="[known, old]")
    assert watch.found().pushed == ("old",)
    # What became of it is not asked for again and again, though it was forgotten.
    connection = shop.services.front.connection
    connection.delete(f"cvmfs-webhook:image:{shop.reference(f'{NAME}:old')}")
    assert watch.found().pushed == ()


def test_what_waits_or_runs_is_not_asked_for_again(
    shop: Workshop, watch: Watch
) -> None:
    publish(shop, "v1")
    watch.found()
    image = push(shop, "v1", b"second")
    shop.want(f"{NAME}:v1", image.digest)
    assert watch.found().pushed == ()


def test_a_name_removed_by_hand_stays_away_until_it_is_pushed(
    shop: Workshop, watch: Watch
) -> None:
    publish(shop, "v1")
    shop.ledger.request(shop.reference(f"{NAME}:v1"), source="operator", order="remove")
    watch.work("v1")
    assert watch.found().pushed == ()
    push(shop, "v1", b"second")
    assert watch.found().pushed == ("v1",)


def test_a_look_is_made_when_its_time_has_come_also_after_a_restart(
    shop: Workshop, watch: Watch
) -> None:
    publish(shop, "v1")
    assert len(watch.look()) == 1
    watch.reconciler = watch.started()
    shop.clock.passes(14 * MINUTE)
    assert watch.look() == []
    shop.clock.passes(1 * MINUTE)
    assert len(watch.look()) == 1


def test_two_reconcilers_do_not_look_at_once(shop: Workshop, watch: Watch) -> None:
    publish(shop, "v1")
    with watch.looks.claim(f"{shop.registry.host}/{NAME}") as is_ours:
        assert is_ours
        (found,) = watch.look()
        assert "another process" in str(found.problem)
    assert len(watch.look()) == 1


def test_a_repository_that_a_rule_names_is_watched_from_the_start(
    shop: Workshop, watch: Watch
) -> None:
    rule = f"{{allow: {shop.registry.host}/{NAME}, watch: {{every: 1m}}}}"
    shop.write_policy(f"version: 1\nrules: [{rule}]\n")
    push(shop, "old")
    assert watch.found().tags == 1
    push(shop, "v1")
    assert watch.found().pushed == ("v1",)


def test_repositories_are_found_where_the_registry_lists_them(
    shop: Workshop, watch: Watch
) -> None:
    push(shop, "v1")
    assert watch.look() == []
    shop.registry.has_catalog = True
    assert watch.look() == []  # it was asked a moment ago
    shop.clock.passes(15 * MINUTE)
    (found,) = watch.look()
    assert (found.name, found.tags) == (f"{shop.registry.host}/{NAME}", 1)


def test_what_the_policy_watches_no_more_begins_anew_later(
    shop: Workshop, watch: Watch
) -> None:
    publish(shop, "v1")
    watch.found()
    shop.allow()
    assert watch.look() == []
    push(shop, "v2")
    shop.allow(watch="{every: 15m}")
    assert watch.found().pushed == ()  # pushed when nobody wanted to know


def test_a_registry_that_does_not_answer_is_left_alone_for_as_long_as_it_wants(
    shop: Workshop, watch: Watch
) -> None:
    publish(shop, "v1")

    def busy(_path: str, _reply: Reply) -> Reply:
        return Reply(429, {"Retry-After": "600"}, b"")

    shop.registry.spoil("GET", "/tags/list", busy, times=1)
    (found,) = watch.look()
    assert "429" in str(found.problem)
    shop.clock.passes(599)
    assert watch.look() == []
    shop.clock.passes(2)
    (found,) = watch.look()
    assert found.problem is None


def test_a_tag_that_cannot_be_had_keeps_nobody_from_the_others(
    shop: Workshop, watch: Watch
) -> None:
    for name in ("a/bad", "b/good"):
        shop.registry.push_image(name, "v1", [tar_of({"motd": name.encode()})])
        shop.publish(f"{name}:v1")
    watch.look()
    for name in ("a/bad", "b/good"):
        shop.registry.push_image(name, "v2", [tar_of({"motd": b"new"})])
    shop.registry.push_image("a/bad", "broken", [tar_of({"motd": b"x"})])
    shop.registry.fail("HEAD", "/manifests/broken", status=500, times=2)
    shop.clock.passes(15 * MINUTE)
    bad, good = sorted(watch.look(), key=lambda found: found.name)
    assert (bad.pushed, good.pushed) == (("v2",), ("v2",))
    assert "500" in str(bad.problem)
    for pushed in ((), ("broken",)):  # which then is new
        shop.clock.passes(15 * MINUTE)
        bad, _ = sorted(watch.look(), key=lambda found: found.name)
        assert bad.pushed == pushed


def test_a_repository_that_is_hidden_keeps_nobody_from_the_others(
    shop: Workshop, watch: Watch
) -> None:
    for name in ("a/bad", "b/good"):
        shop.registry.push_image(name, "v1", [tar_of({"motd": name.encode()})])
        shop.publish(f"{name}:v1")
    shop.registry.fail("GET", "/a/bad/tags/list", status=500, times=None)
    seen = set()
    for _ in range(5):
        seen |= {found.name for found in watch.look() if found.problem is None}
        shop.clock.passes(MINUTE)
    assert seen == {f"{shop.registry.host}/b/good"}


def test_a_registry_that_lists_nothing_for_once_changes_nothing(
    shop: Workshop, watch: Watch
) -> None:
    shop.registry.has_catalog = True
    push(shop, "old")
    assert len(watch.look()) == 1
    new = push(shop, "v1")
    shop.registry.fail("GET", "/v2/_catalog", status=503, times=1)
    watch.reconciler = watch.started()
    assert watch.found().pushed == ("v1",)
    watch.work("v1")
    assert shop.image(f"{NAME}:v1").live_digest == new.digest


def test_what_nobody_may_see_is_not_shown_as_refused(
    shop: Workshop, watch: Watch
) -> None:
    shop.registry.has_catalog = True
    shop.registry.push_image("secret/merger", "old", [tar_of({"motd": b"x"})])
    shop.registry.make_private("secret/merger")
    watch.found()
    shop.registry.push_image("secret/merger", "acme", [tar_of({"motd": b"y"})])
    assert watch.found().pushed == ()
    assert shop.ledger.references() == []
    shop.registry.make_public("secret/merger")
    assert watch.found().pushed == ("acme",)


def test_private_images_are_found_where_a_rule_publishes_them(
    shop: Workshop, watch: Watch
) -> None:
    shop.allow(watch="{every: 15m, existing: all}", private="allow")
    shop.registry.has_catalog = True
    shop.registry.push_image("secret/merger", "acme", [tar_of({"motd": b"x"})])
    shop.registry.make_private("secret/merger")
    assert watch.found().pushed == ("acme",)


def test_a_clock_that_was_wrong_stops_no_looks(shop: Workshop, watch: Watch) -> None:
    publish(shop, "v1")
    shop.clock.passes(365 * DAY)
    assert len(watch.look()) == 1
    shop.clock.passes(-365 * DAY)
    assert len(watch.look()) == 1


def test_what_comes_to_nothing_is_not_asked_for_at_each_look(
    shop: Workshop, watch: Watch
) -> None:
    shop.registry.has_catalog = True
    shop.allow(watch="{every: 15m, existing: all}", to="nowhere.example.org")
    push(shop, "v1")
    assert watch.found().pushed == ("v1",)
    watch.work("v1")
    assert "nowhere.example.org" in str(shop.image(f"{NAME}:v1").reason)
    assert watch.found().pushed == ()
    assert watch.found(6 * 60).pushed == ("v1",)


def test_a_mistake_of_ours_ends_nothing(
    shop: Workshop, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(shop, "v1")
    with monkeypatch.context() as patched:
        patched.setattr("webhook.reconcile.look.findings", None)
        (found,) = watch.look()
    assert found.problem == "internal error (TypeError)"
    assert watch.found().problem is None


def test_an_incomplete_list_of_tags_changes_nothing(
    shop: Workshop, watch: Watch
) -> None:
    shop.allow(watch="{every: 15m}", keep="{grace: 1s, newest: 1}")
    publish(shop, "v1", "v2", "v3")
    shop.registry.delete_tag(NAME, "v3")
    shop.registry.page_tags = 1

    def broken(_path: str, reply: Reply) -> Reply:
        return Reply(200, reply.headers, b"<html>")

    shop.registry.spoil("GET", "last=v1", broken, times=1)
    (found,) = watch.look()
    assert "not JSON" in str(found.problem)
    assert (found.deleted, found.expired) == ((), ())
    assert watch.found().deleted == ("v3",)


def test_nothing_is_remembered_of_what_could_not_be_kept(
    shop: Workshop, watch: Watch
) -> None:
    publish(shop, "v1")
    watch.found()
    push(shop, "v2")
    watch.problem = "the disk is full"
    shop.clock.passes(15 * MINUTE)
    with pytest.raises(NotKept):
        watch.look()
    watch.problem = None
    assert watch.found(0).pushed == ("v2",)


def test_what_is_no_image_is_passed_over(shop: Workshop, watch: Watch) -> None:
    publish(shop, "v1")
    watch.found()
    shop.registry.push_manifest(NAME, "chart", b"{}", "application/vnd.helm.chart")
    push(shop, "v2")
    assert watch.found().pushed == ("v2",)


def test_a_job_that_was_given_up_for_trouble_is_tried_again_after_hours(
    shop: Workshop, watch: Watch
) -> None:
    publish(shop, "v1")
    watch.found()
    image = push(shop, "v1", b"second")
    shop.registry.fail("GET", "/manifests/", status=503, times=10)
    shop.want(f"{NAME}:v1", image.digest)
    for _ in range(10):
        run = shop.run(f"{NAME}:v1")
        if run.next_try is not None:
            shop.wait_for_next_try(f"{NAME}:v1")
    assert "given up after 10" in str(run.reason)
    assert watch.found(60).pushed == ()
    assert watch.found(6 * 60).pushed == ("v1",)


def test_what_failed_for_its_own_sake_is_not_tried_again(
    shop: Workshop, watch: Watch
) -> None:
    publish(shop, "v1")
    watch.found()
    image = shop.registry.push_image(NAME, "bad", [b"no tar"])
    shop.want(f"{NAME}:bad", image.digest)
    assert shop.run(f"{NAME}:bad").outcome is Outcome.FAILED
    assert watch.found(7 * 60).pushed == ()


def test_what_is_gone_upstream_goes_although_nobody_told_us(
    shop: Workshop, watch: Watch
) -> None:
    shop.allow(watch="{every: 15m}", keep="{grace: 30d}")
    publish(shop, "v1", "v2")
    shop.registry.delete_tag(NAME, "v1")
    assert watch.found().deleted == ("v1",)
    watch.work("v1")
    record = shop.image(f"{NAME}:v1")
    assert record.gone_since is not None
    assert "removed on" in str(record.reason)
    assert watch.found().deleted == ()  # its time is running
    shop.services.front.connection.hset(
        f"cvmfs-webhook:image:{record.reference}", "gone_since", "1"
    )
    shop.wait_for_next_try(f"{NAME}:v1")
    watch.work("v1")
    assert shop.image(f"{NAME}:v1").state is State.REMOVED
    assert shop.image(f"{NAME}:v2").state is State.LIVE


def gone(shop: Workshop, watch: Watch, since: float | None = None) -> None:
    """Let v1 have been deleted in the registry, and its grace time run."""
    shop.allow(watch="{every: 15m}", keep="{grace: 30d}")
    publish(shop, "v1", "v2")
    shop.registry.delete_tag(NAME, "v1")
    assert watch.found().deleted == ("v1",)
    watch.work("v1")
    if since is not None:
        key = f"cvmfs-webhook:image:{shop.reference(f'{NAME}:v1')}"
        shop.services.front.connection.hset(key, "gone_since", str(since))


def test_what_comes_back_within_its_grace_time_is_published(
    shop: Workshop, watch: Watch
) -> None:
    gone(shop, watch)
    image = push(shop, "v1", b"second")
    assert watch.found().pushed == ("v1",)
    watch.work("v1")
    record = shop.image(f"{NAME}:v1")
    assert (record.live_digest, record.gone_since) == (image.digest, None)


@pytest.mark.parametrize("more", ["watch: {every: 15m}, ", ""])
def test_what_is_gone_a_second_time_has_all_of_its_grace_time_again(
    shop: Workshop, watch: Watch, more: str
) -> None:
    gone(shop, watch, since=1.0)
    rule = f'{{allow: "{shop.registry.host}/**", {more}keep: {{grace: 30d}}}}'
    shop.write_policy(f"version: 1\nrules: [{rule}]\n")
    push(shop, "v1", b"v1")
    assert watch.found(60).pushed == ("v1",)
    watch.work("v1")
    shop.registry.delete_tag(NAME, "v1")
    assert watch.found(60).deleted == ("v1",)
    watch.work("v1")
    assert shop.image(f"{NAME}:v1").live_digest is not None


def test_one_bad_answer_when_it_is_to_go_does_not_keep_it_for_ever(
    shop: Workshop, watch: Watch
) -> None:
    gone(shop, watch, since=1.0)
    shop.wait_for_next_try(f"{NAME}:v1")
    shop.registry.fail("GET", "/tags/list", status=403, times=1)
    watch.work("v1")
    assert shop.image(f"{NAME}:v1").live_digest is not None
    assert watch.found(6 * 60).deleted == ("v1",)
    watch.work("v1")
    assert shop.image(f"{NAME}:v1").state is State.REMOVED


def test_a_registry_that_contradicts_itself_is_not_asked_at_each_look(
    shop: Workshop, watch: Watch
) -> None:
    shop.allow(watch="{every: 15m}", keep="{grace: 30d}")
    publish(shop, "v1", "v2")

    def hide(_path: str, reply: Reply) -> Reply:
        return Reply(200, reply.headers, b'{"tags": ["v2"]}')

    shop.registry.spoil("GET", "/tags/list", hide, times=None)
    assert watch.found().deleted == ("v1",)
    watch.work("v1")
    assert shop.image(f"{NAME}:v1").state is State.LIVE
    assert watch.found().deleted == ()
    assert watch.found(6 * 60).deleted == ("v1",)


def test_without_keep_what_is_gone_upstream_stays(shop: Workshop, watch: Watch) -> None:
    publish(shop, "v1", "v2")
    shop.registry.delete_tag(NAME, "v1")
    assert watch.found().deleted == ()


def test_rules_that_only_keep_are_looked_at_once_an_hour_and_push_nothing(
    shop: Workshop, watch: Watch
) -> None:
    shop.allow(keep="{grace: 30d}")
    publish(shop, "v1", "v2")
    shop.registry.delete_tag(NAME, "v1")
    assert watch.found().deleted == ("v1",)
    push(shop, "v3")
    shop.clock.passes(59 * MINUTE)
    assert watch.look() == []
    assert watch.found(1).pushed == ()


def test_of_many_tags_the_newest_stay(shop: Workshop, watch: Watch) -> None:
    shop.allow(watch="{every: 15m}", keep="{newest: 2, grace: 30d}")
    publish(shop, "v1", "v2", "v3", "v4")
    found = watch.found(2 * DAY // MINUTE)
    # Their grace time begins when they are found to be too many.
    assert (found.expired, found.surplus) == ((), ("v1", "v2"))
    publish(shop, "v5")
    found = watch.found(30 * DAY // MINUTE)
    assert (found.expired, found.surplus) == (("v1", "v2"), ("v3",))
    assert shop.image(f"{NAME}:v1").state is State.LIVE  # until the job has looked
    assert watch.found().expired == ()  # that is under way
    watch.work("v1", "v2")
    states = {tag: shop.image(f"{NAME}:{tag}").state for tag in ("v1", "v2", "v3")}
    assert states == {"v1": State.REMOVED, "v2": State.REMOVED, "v3": State.LIVE}
    assert shop.file(f"{NAME}:v1", "motd") is None
    last_run = shop.image(f"{NAME}:v1").last_run
    assert last_run is not None
    assert "keeps the newest 2 tags only" in str(last_run.reason)
    # The registry still has them, and that is no push.
    found = watch.found()
    assert (found.pushed, found.expired, found.surplus) == ((), (), ("v3",))


def test_publishing_the_same_again_makes_a_tag_no_newer(
    shop: Workshop, watch: Watch
) -> None:
    shop.allow(watch="{every: 15m}", keep="{newest: 1, grace: 1d}")
    publish(shop, "v1", "v2")
    shop.clock.passes(MINUTE)
    shop.publish(f"{NAME}:v1", forced=True)
    assert watch.found().surplus == ("v1",)


def test_what_was_restored_by_hand_does_not_go(shop: Workshop, watch: Watch) -> None:
    shop.allow(watch="{every: 15m}", keep="{newest: 1, grace: 1d}")
    publish(shop, "v1")
    first = shop.image(f"{NAME}:v1").live_digest
    push(shop, "v1", b"second")
    shop.publish(f"{NAME}:v1")
    order = orders.restore(str(first))
    shop.ledger.request(shop.reference(f"{NAME}:v1"), source="operator", order=order)
    watch.work("v1")
    publish(shop, "v2")
    assert watch.found(2 * DAY // MINUTE).surplus == ()


def test_a_rule_that_keeps_more_in_time_lets_nothing_go(
    shop: Workshop, watch: Watch
) -> None:
    shop.allow(watch="{every: 15m}", keep="{newest: 1, grace: 1d}")
    publish(shop, "v1", "v2")
    assert watch.found().surplus == ("v1",)
    shop.allow(watch="{every: 15m}", keep="{newest: 2, grace: 1d}")
    assert watch.found(2 * DAY // MINUTE).surplus == ()
    shop.allow(watch="{every: 15m}", keep="{newest: 1, grace: 1d}")
    found = watch.found()  # its time begins anew
    assert (found.surplus, found.expired) == (("v1",), ())


def surplus(shop: Workshop, watch: Watch, *, more: str = "") -> None:
    """Let v1 be one tag too many, and its grace time be over."""
    shop.allow(watch="{every: 15m}", keep="{newest: 1, grace: 1d}")
    publish(shop, "v1", "v2")
    assert watch.found().surplus == ("v1",)
    shop.clock.passes(DAY)


def test_a_tag_that_moves_is_new_again(shop: Workshop, watch: Watch) -> None:
    surplus(shop, watch)
    push(shop, "v1", b"moved")
    found = watch.found()
    assert (found.pushed, found.expired) == (("v1",), ())
    watch.work("v1")
    assert watch.found().surplus == ("v2",)
    assert watch.found(DAY // MINUTE).expired == ("v2",)


def test_a_push_that_comes_before_the_job_wins(shop: Workshop, watch: Watch) -> None:
    surplus(shop, watch)
    assert watch.found().expired == ("v1",)
    image = push(shop, "v1", b"moved")
    shop.want(f"{NAME}:v1", image.digest)
    watch.work("v1")
    assert shop.image(f"{NAME}:v1").live_digest == image.digest


def test_a_tag_that_has_moved_without_a_word_does_not_go(
    shop: Workshop, watch: Watch
) -> None:
    surplus(shop, watch)
    shop.allow(keep="{newest: 1, grace: 1d}")  # nobody asks what it leads to
    image = push(shop, "v1", b"moved")
    assert watch.found(60).expired == ("v1",)
    watch.work("v1")
    assert shop.image(f"{NAME}:v1").live_digest == image.digest


def test_what_somebody_pushes_at_that_moment_is_not_made_to_go(
    shop: Workshop, watch: Watch
) -> None:
    surplus(shop, watch)
    moved = build_image([tar_of({"motd": b"moved"})])

    def meanwhile() -> None:
        shop.registry.hold_image(NAME, "v1", moved)
        shop.want(f"{NAME}:v1", moved.digest)

    shop.when_asked("/manifests/v1", meanwhile, method="HEAD")
    assert watch.found().expired == ()
    watch.work("v1")
    assert shop.image(f"{NAME}:v1").live_digest == moved.digest


def test_what_is_published_during_a_look_is_not_taken_for_what_was_there_before(
    shop: Workshop, watch: Watch
) -> None:
    publish(shop, "v1")
    push(shop, "v1", b"second")
    moved = build_image([tar_of({"motd": b"third"})])

    def meanwhile() -> None:
        shop.registry.hold_image(NAME, "v1", moved)
        shop.want(f"{NAME}:v1", moved.digest)
        lease = shop.ledger.begin(shop.reference(f"{NAME}:v1"), worker="another")
        assert lease is not None
        shop.ledger.finish(lease, Outcome.PUBLISHED, digest=moved.digest)

    shop.when_asked("/manifests/v1", meanwhile, method="HEAD")
    assert watch.found().pushed == ()
    assert watch.found().pushed == ()
    record = shop.image(f"{NAME}:v1")
    assert (record.state, record.live_digest) == (State.LIVE, moved.digest)


def test_what_became_new_enough_stays_although_it_was_to_go(
    shop: Workshop, watch: Watch
) -> None:
    surplus(shop, watch)
    assert watch.found().expired == ("v1",)
    shop.allow(watch="{every: 15m}", keep="{newest: 2, grace: 1d}")
    watch.work("v1")
    record = shop.image(f"{NAME}:v1")
    assert record.state is State.LIVE
    assert record.last_run is not None
    assert record.last_run.outcome is Outcome.UNCHANGED


def test_each_rule_counts_its_own_tags(shop: Workshop, watch: Watch) -> None:
    host = shop.registry.host
    shop.write_policy(
        f"""\
version: 1
rules:
  - {{allow: "{host}/**", tags: ["v*"]}}
  - {{allow: "{host}/**", keep: {{newest: 1, grace: 1d}}}}
"""
    )
    publish(shop, "v1", "v2", "nightly-1", "nightly-2")
    assert watch.found().surplus == ("nightly-1",)


# The command.


def command(shop: Workshop, *words: str) -> Result:
    words = ("reconcile", *words, "--config", str(shop.config))
    return CliRunner().invoke(main, words)


def test_once_says_what_it_found(shop: Workshop, watch: Watch) -> None:
    publish(shop, "v1")
    push(shop, "v1", b"second")
    result = command(shop, "--once")
    assert (result.exit_code, result.stderr) == (0, "")
    name = f"{shop.registry.host}/{NAME}"
    assert result.stdout == f"{name}: 1 tags; queued: v1\n"
    said = json.loads(command(shop, "--once", "--json").stdout)
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
    shop: Workshop, watch: Watch
) -> None:
    publish(shop, "v1")
    shop.registry.fail("GET", "/tags/list", status=503, times=1)
    result = command(shop, "--once")
    assert result.exit_code == 4
    assert "503" in result.stdout


def test_once_says_when_nothing_is_watched(shop: Workshop) -> None:
    result = command(shop, "--once")
    assert (result.exit_code, "nothing to look at" in result.stdout) == (0, True)


def test_a_policy_that_cannot_be_read_is_said(shop: Workshop) -> None:
    shop.write_policy("rules: [")
    result = command(shop, "--once")
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
