"""What an older converter made is made again, in time and not all at once."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.harness.image_commands import command
from tests.support.harness.jobs import JobRunner
from tests.support.images.oci import tar_of
from webhook.reconcile import remaking
from webhook.reconcile.remaking import Remaking, count_outdated
from workers.formats import flat, flat_record, receipt
from workers.ledger import Outcome, State, orders
from workers.run import assemble

NAME = "atlas/analysis"
OLD = receipt.CONVERTER - 1


@contextmanager
def older_converter() -> Iterator[None]:
    """Run jobs as an older version does."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (assemble, flat, flat_record):
            patch.setattr(module, "CONVERTER", OLD)
        yield


def publish(runner: JobRunner, *tags: str) -> None:
    with older_converter():
        for tag in tags:
            runner.registry.push_image(NAME, tag, [tar_of({"tag": tag.encode()})])
            runner.publish(f"{NAME}:{tag}")


def remaker(runner: JobRunner) -> Remaking:
    services = runner.services
    return Remaking(runner.ledger, services.front.queue, services.policy)


def test_each_image_is_made_again_once(runner: JobRunner) -> None:
    publish(runner, "v1", "v2")
    runner.registry.push_image(NAME, "v3", [tar_of({"tag": b"v3"})])
    runner.publish(f"{NAME}:v3")
    assert runner.image(f"{NAME}:v1").converter == OLD
    again = remaker(runner)
    names = {runner.reference(f"{NAME}:{tag}") for tag in ("v1", "v2")}
    assert set(again.round()) == names
    assert again.round() == []
    for tag in ("v1", "v2"):
        # Live all the time, as nothing else is there to be live.
        assert runner.image(f"{NAME}:{tag}").state is State.LIVE
        assert runner.run(f"{NAME}:{tag}").outcome is Outcome.PUBLISHED
        assert runner.image(f"{NAME}:{tag}").converter == receipt.CONVERTER
    assert again.round() == []
    assert remaker(runner).round() == []


def test_only_some_are_made_at_a_time(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remaking, "_AT_ONCE", 2)
    publish(runner, "v1", "v2", "v3")
    again = remaker(runner)
    first = again.round()
    assert len(first) == 2
    assert again.round() == []
    runner.run(first[0].partition("/")[2])
    assert len(again.round()) == 1


def test_their_number_is_said_before(
    runner: JobRunner, caplog: pytest.LogCaptureFixture
) -> None:
    publish(runner, "v1", "v2")
    said = f"2 of 2 live images were made by an older converter than version {OLD + 1}"
    shown = command(runner, "status")
    assert said in shown.stdout
    with caplog.at_level(logging.WARNING):
        again = remaker(runner)
        again.round()
        again.round()
    assert [said in record.getMessage() for record in caplog.records] == [True]
    for tag in ("v1", "v2"):
        runner.run(f"{NAME}:{tag}")
    assert "older converter" not in command(runner, "status").stdout


def test_one_image_is_said_as_one(runner: JobRunner) -> None:
    publish(runner, "v1")
    said = count_outdated([runner.image(f"{NAME}:v1")])
    assert said is not None
    assert said.startswith("1 of 1 live image was made by an older converter")
    assert count_outdated([]) is None


def test_what_the_policy_does_not_want_or_is_not_live_stays(runner: JobRunner) -> None:
    publish(runner, "v1")
    runner.write_policy("version: 1\nrules: []\n")
    assert remaker(runner).round() == []
    assert runner.image(f"{NAME}:v1").state is State.LIVE
    runner.write_policy("rules: [}")
    assert remaker(runner).round() == []


def test_what_is_gone_from_the_registry_is_asked_for_once(runner: JobRunner) -> None:
    publish(runner, "v1")
    runner.registry.fail("HEAD", "/manifests/v1", status=404)
    runner.registry.fail("GET", "/manifests/v1", status=404)
    again = remaker(runner)
    assert len(again.round()) == 1
    runner.run(f"{NAME}:v1")
    assert again.round() == []


def test_what_was_restored_is_restored_again(runner: JobRunner) -> None:
    publish(runner, "v1")
    old = runner.image(f"{NAME}:v1").digest
    assert old is not None
    with older_converter():
        runner.registry.push_image(NAME, "v1", [tar_of({"new": b""})])
        runner.publish(f"{NAME}:v1")
        name = runner.reference(f"{NAME}:v1")
        runner.ledger.request(name, source="test", order=orders.restore(old))
        runner.run(f"{NAME}:v1")
    assert runner.image(f"{NAME}:v1").live_digest == old
    assert len(remaker(runner).round()) == 1
    assert runner.run(f"{NAME}:v1").outcome is Outcome.PUBLISHED
    record = runner.image(f"{NAME}:v1")
    assert (record.live_digest, record.converter) == (old, receipt.CONVERTER)
