"""Which repositories are looked at, and how often."""

from tests.support.harness.jobs import JobRunner
from tests.support.harness.reconciler import DAY, MINUTE, NAME, ReconcilerDriver
from tests.support.images.oci import tar_of
from tests.support.registries.misbehaving_server import Reply


def test_a_repository_that_a_rule_names_is_watched_from_the_start(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    rule = f"{{allow: {runner.registry.host}/{NAME}, watch: {{every: 1m}}}}"
    runner.write_policy(f"version: 1\nrules: [{rule}]\n")
    watch.push("old")
    assert watch.found().tags == 1
    watch.push("v1")
    assert watch.found().pushed == ("v1",)


def test_repositories_are_found_where_the_registry_lists_them(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.push("v1")
    assert watch.look() == []
    runner.registry.has_catalog = True
    assert watch.look() == []  # it was asked a moment ago
    runner.clock.passes(15 * MINUTE)
    (found,) = watch.look()
    assert (found.name, found.tags) == (f"{runner.registry.host}/{NAME}", 1)


def test_what_the_policy_watches_no_more_begins_anew_later(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.publish("v1")
    watch.found()
    runner.allow()
    assert watch.look() == []
    watch.push("v2")
    runner.allow(watch="{every: 15m}")
    assert watch.found().pushed == ()  # pushed when nobody wanted to know


def test_a_registry_that_does_not_answer_is_left_alone_for_as_long_as_it_wants(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.publish("v1")

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


def test_a_repository_that_is_hidden_keeps_nobody_from_the_others(
    runner: JobRunner, watch: ReconcilerDriver
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


def test_a_clock_that_was_wrong_stops_no_looks(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.publish("v1")
    runner.clock.passes(365 * DAY)
    assert len(watch.look()) == 1
    runner.clock.passes(-365 * DAY)
    assert len(watch.look()) == 1


def test_rules_that_only_keep_are_looked_at_once_an_hour_and_push_nothing(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    runner.allow(keep="{grace: 30d}")
    watch.publish("v1", "v2")
    runner.registry.delete_tag(NAME, "v1")
    assert watch.found().deleted == ("v1",)
    watch.push("v3")
    runner.clock.passes(59 * MINUTE)
    assert watch.look() == []
    assert watch.found(1).pushed == ()
