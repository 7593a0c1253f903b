"""What the policy and the image itself have to say before anything is made."""

import dataclasses

import pytest

from tests.support.harness.jobs import FQRN, JobRunner
from tests.support.harness.steering import NAME, push
from tests.support.images.oci import digest_of, tar_of
from workers.ledger import Outcome, State
from workers.policy import PolicyFile
from workers.publishing.native import NativePublisher
from workers.wiring import open_repository

FIRST = [tar_of({"etc/motd": b"first"})]


def test_a_policy_that_changed_meanwhile_decides(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    host = runner.registry.host
    runner.write_policy(
        f'version: 1\nrules:\n  - deny: "{host}/**"\n    reason: we have left\n'
    )

    run = runner.run(NAME)

    assert run.outcome is Outcome.REFUSED
    assert "we have left" in (run.reason or "")
    assert runner.image(NAME).state is State.REFUSED
    assert not runner.registry.seen()


def test_while_the_policy_is_broken_the_last_good_one_decides(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.services.policy.current()  # as the worker does before it forks
    runner.write_policy("rules: [")
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


def test_a_policy_that_was_never_good_refuses_nobody(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.write_policy("rules: [")
    fresh = PolicyFile(runner.services.config.policy)
    runner.services = dataclasses.replace(runner.services, policy=fresh)

    run = runner.run(NAME)

    assert run.outcome is Outcome.FAILED
    assert "the policy file is broken" in (run.reason or "")
    runner.allow()
    runner.wait_for_next_try(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


def test_what_only_we_can_pull_is_refused_unless_the_rule_allows_it(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    runner.registry.make_private("atlas/analysis")
    runner.want(NAME)
    run = runner.run(NAME)
    assert run.outcome is Outcome.REFUSED
    assert "`private: allow`" in (run.reason or "")
    assert not runner.registry.seen("GET", "/blobs/")

    runner.allow(private="allow")
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


@pytest.mark.parametrize("number", [0, 1, 2], ids=["config", "first", "second"])
def test_content_that_only_we_can_pull_is_refused_and_named(
    runner: JobRunner, number: int
) -> None:
    image = push(runner, [*FIRST, tar_of({"more": b""})])
    digest = digest_of(image.blobs[number])
    runner.registry.make_blob_private("atlas/analysis", digest)
    runner.want(NAME)
    run = runner.run(NAME)
    assert run.outcome is Outcome.REFUSED
    part = f"layer {number} ({digest[:19]}" if number else "the config of "
    assert str(run.reason).startswith(part)
    assert "`private: allow`" in str(run.reason)
    assert not runner.registry.seen("GET", digest_of(image.blobs[1]))

    runner.allow(private="allow")
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


def test_a_layer_that_is_published_already_is_asked_for_all_the_same(
    runner: JobRunner,
) -> None:
    image = push(runner, FIRST, "public/base:v1")
    runner.publish("public/base:v1")
    runner.registry.hold_image("atlas/analysis", "v1", image)
    runner.registry.make_blob_private("atlas/analysis", digest_of(image.blobs[1]))
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.REFUSED


def test_strangers_may_know_of_what_the_registry_gives_to_all(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    assert not runner.image(NAME).is_public
    seen = []
    runner.when_registry_is_asked(
        "/blobs/", lambda: seen.append(runner.image(NAME).is_public)
    )
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
    assert seen == [True]  # while it is converted, its author sees how far it is
    assert runner.image(NAME).was_live


def test_what_is_private_is_not_for_strangers_before_it_is_live(
    runner: JobRunner,
) -> None:
    runner.allow(private="allow")
    push(runner, FIRST)
    runner.registry.make_private("atlas/analysis")
    runner.want(NAME)
    seen = []
    runner.when_registry_is_asked(
        "/blobs/", lambda: seen.append(runner.image(NAME).is_public)
    )
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
    assert seen == [False]
    assert runner.image(NAME).was_live


def test_a_later_look_finds_that_an_image_has_become_private(
    runner: JobRunner,
) -> None:
    runner.allow(require_label='{org.cvmfs.publish: "true"}')
    push(runner, FIRST)
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.REFUSED
    assert runner.image(NAME).is_public
    assert runner.image(NAME).is_reason_open
    runner.registry.make_private("atlas/analysis")
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.REFUSED
    assert not runner.image(NAME).is_public


def test_what_fails_before_it_was_asked_for_in_public_is_asked_then(
    runner: JobRunner,
) -> None:
    manifest = b'{"schemaVersion": 1, "name": "atlas/analysis", "tag": "v1"}'
    kind = "application/vnd.docker.distribution.manifest.v1+json"
    runner.registry.push_manifest("atlas/analysis", "v1", manifest, kind)
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.FAILED
    assert runner.image(NAME).is_public
    assert runner.image(NAME).is_reason_open
    runner.registry.make_private("atlas/analysis")
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.FAILED
    assert not runner.image(NAME).is_public


def test_what_a_registry_says_of_our_login_is_for_the_operator(
    runner: JobRunner,
) -> None:
    runner.want("atlas/nothing:v1")
    assert runner.run("atlas/nothing:v1").outcome is Outcome.FAILED
    image = runner.image("atlas/nothing:v1")
    assert not image.is_public
    assert not image.is_reason_open
    assert not runner.ledger.runs(image.reference)[0].is_reason_open


def test_a_missing_label_is_refused_with_the_line_that_mends_it(
    runner: JobRunner,
) -> None:
    runner.allow(require_label='{org.cvmfs.publish: "true"}')
    push(runner, FIRST)
    runner.want(NAME)
    run = runner.run(NAME)
    assert run.outcome is Outcome.REFUSED
    assert 'LABEL org.cvmfs.publish="true"' in (run.reason or "")

    labels = {"Labels": {"org.cvmfs.publish": "true"}}
    runner.registry.push_image("atlas/analysis", "v1", FIRST, config={"config": labels})
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


def test_a_rule_that_names_no_repository_where_it_has_to_says_so(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    real = runner.services.publishers[FQRN]
    config = runner.services.config
    second = NativePublisher("other.example.org", lambda: open_repository(config, FQRN))
    publishers = {FQRN: real, "other.example.org": second}
    runner.services = dataclasses.replace(runner.services, publishers=publishers)
    runner.want(NAME)
    run = runner.run(NAME)
    assert (run.outcome, run.next_try) == (Outcome.FAILED, None)
    assert "write to:" in (run.reason or "")


def test_a_name_that_no_file_system_holds_is_refused_before_anything_is_asked(
    runner: JobRunner,
) -> None:
    longest = f"atlas/{'a' * 127}:{'t' * 127}"
    too_long = f"atlas/{'a' * 128}:{'t' * 127}"
    for name in (longest, too_long):
        repository, _, tag = name.partition(":")
        runner.registry.push_image(repository, tag, FIRST)
    runner.publish(longest)
    asked = len(runner.registry.seen("GET"))
    runner.want(too_long)
    run = runner.run(too_long)
    assert run.outcome is Outcome.FAILED
    assert "256 bytes together, and a file system takes 255" in str(run.reason)
    assert len(runner.registry.seen("GET")) == asked
