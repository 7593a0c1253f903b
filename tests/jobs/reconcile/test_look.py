"""One look at one image repository: what is pushed, left alone or passed over."""

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.harness.reconciler import MINUTE, NAME, ReconcilerDriver
from tests.support.images.oci import tar_of
from tests.support.registries.misbehaving_server import Reply
from webhook.intake.intake import NotKept


def test_what_was_there_before_is_left_alone_until_it_moves(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.publish("known")
    watch.push("old")
    assert watch.found().pushed == ()
    assert watch.found().pushed == ()
    watch.push("old", b"moved")
    assert watch.found().pushed == ("old",)


def test_old_tags_are_fetched_where_the_rule_says_so(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.publish("known")
    watch.push("old")
    watch.push("not-allowed")
    assert watch.found().pushed == ()
    runner.allow(watch="{every: 15m, existing: all}", tags="[known, old]")
    assert watch.found().pushed == ("old",)
    # What became of it is not asked for again and again, though it was forgotten.
    connection = runner.services.front.connection
    connection.delete(f"cvmfs-webhook:image:{runner.reference(f'{NAME}:old')}")
    assert watch.found().pushed == ()


def test_what_waits_or_runs_is_not_asked_for_again(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.publish("v1")
    watch.found()
    image = watch.push("v1", b"second")
    runner.want(f"{NAME}:v1", image.digest)
    assert watch.found().pushed == ()


def test_a_name_removed_by_hand_stays_away_until_it_is_pushed(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.publish("v1")
    runner.ledger.request(
        runner.reference(f"{NAME}:v1"), source="operator", order="remove"
    )
    watch.work("v1")
    assert watch.found().pushed == ()
    watch.push("v1", b"second")
    assert watch.found().pushed == ("v1",)


def test_a_tag_that_cannot_be_had_keeps_nobody_from_the_others(
    runner: JobRunner, watch: ReconcilerDriver
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


def test_a_registry_that_lists_nothing_for_once_changes_nothing(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    runner.registry.has_catalog = True
    watch.push("old")
    assert len(watch.look()) == 1
    new = watch.push("v1")
    runner.registry.fail("GET", "/v2/_catalog", status=503, times=1)
    watch.reconciler = watch.started()
    assert watch.found().pushed == ("v1",)
    watch.work("v1")
    assert runner.image(f"{NAME}:v1").live_digest == new.digest


def test_what_nobody_may_see_is_not_shown_as_refused(
    runner: JobRunner, watch: ReconcilerDriver
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
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    runner.allow(watch="{every: 15m, existing: all}", private="allow")
    runner.registry.has_catalog = True
    runner.registry.push_image("secret/merger", "acme", [tar_of({"motd": b"x"})])
    runner.registry.make_private("secret/merger")
    assert watch.found().pushed == ("acme",)


def test_an_incomplete_list_of_tags_changes_nothing(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    runner.allow(watch="{every: 15m}", keep="{grace: 1s, newest: 1}")
    watch.publish("v1", "v2", "v3")
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
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.publish("v1")
    watch.found()
    watch.push("v2")
    watch.problem = "the disk is full"
    runner.clock.passes(15 * MINUTE)
    with pytest.raises(NotKept):
        watch.look()
    watch.problem = None
    assert watch.found(0).pushed == ("v2",)


def test_what_is_no_image_is_passed_over(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.publish("v1")
    watch.found()
    runner.registry.push_manifest(NAME, "chart", b"{}", "application/vnd.helm.chart")
    watch.push("v2")
    assert watch.found().pushed == ("v2",)
