"""``ledger rebuild``, after Redis has lost everything."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from tests.support.harness.jobs import FQRN, JobRunner
from tests.support.images.oci import tar_of
from webhook.cli import main
from workers.cvmfs import PutFile, PutLink, RemovePath
from workers.formats import formats
from workers.formats.flat import Flat
from workers.formats.format import Building, Placement
from workers.formats.paths import image_path, metadata_path
from workers.ledger import Outcome, State
from workers.publishing.plan import Step
from workers.publishing.publisher import PublishedTree
from workers.reference import Reference

FIRST = [tar_of({"motd": b"first"})]


def command(runner: JobRunner, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--config", str(runner.config)])


def test_after_redis_lost_everything_status_shows_all_again(runner: JobRunner) -> None:
    runner.registry.push_image("atlas/one", "1", FIRST)
    runner.registry.push_image("atlas/two", "2", FIRST)
    runner.publish("atlas/one:1")
    runner.allow(formats="[podman]")  # which no link leads to
    runner.publish("atlas/two:2")
    before = {name: runner.image(name) for name in ("atlas/one:1", "atlas/two:2")}
    runner.services.front.connection.flushall()
    assert runner.ledger.counts()[State.LIVE] == 0
    result = command(runner, "ledger", "rebuild")
    assert result.exit_code == 0, result.output
    assert f"{FQRN}: revision 3, 2 images shown anew, 0 as before" in result.output
    for name, was in before.items():
        now = runner.image(name)
        assert now.state is State.LIVE
        assert (now.live_digest, now.places) == (was.live_digest, was.places)
        assert abs(now.since - was.since) < 60
    shown = json.loads(command(runner, "status", "--json").stdout)
    assert {image["state"] for image in shown} == {"live"}
    again = json.loads(command(runner, "ledger", "rebuild", FQRN, "--json").stdout)
    assert set(again[0]["images"].values()) == {"same"}
    # And what is pushed again is found to be there.
    runner.want("atlas/two:2")
    assert runner.run("atlas/two:2").outcome is Outcome.UNCHANGED


class Remarking(Flat):
    """Says something of what it makes live."""

    def steps(
        self, placement: Placement, building: Building, tree: PublishedTree
    ) -> Iterator[Step]:
        building.notes.append("It is odd.")
        return super().steps(placement, building, tree)


def test_what_a_format_says_is_kept_in_the_repository_and_shown(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [each for each in formats.FORMATS if each.name != Flat.name]
    monkeypatch.setattr(formats, "FORMATS", (*others, Remarking()))
    image = runner.registry.push_image("atlas/one", "1", FIRST)
    assert runner.publish("atlas/one:1").notes == ("It is odd.",)
    runner.registry.hold_image("atlas/two", "1", image)  # of which all is there
    assert runner.publish("atlas/two:1").notes == ("It is odd.",)
    runner.services.front.connection.flushall()
    assert command(runner, "ledger", "rebuild").exit_code == 0
    assert runner.image("atlas/one:1").notes == ("It is odd.",)
    told = command(runner, "status", runner.reference("atlas/one:1")).output
    assert "  note:        It is odd.\n" in told
    assert runner.publish("atlas/one:1").notes == ("It is odd.",)  # unchanged


def test_what_is_not_understood_is_told_and_not_called_live(runner: JobRunner) -> None:
    runner.registry.push_image("atlas/one", "1", FIRST)
    runner.registry.push_image("atlas/two", "1", FIRST)
    runner.publish("atlas/one:1")
    runner.publish("atlas/two:1")
    repository = runner.repository
    one, two = (
        Reference.parse(runner.reference(f"atlas/{name}:1")) for name in ("one", "two")
    )
    broken = repository.sink.put_bytes(b'{"digest": "none"}')
    repository.commit(
        [
            PutFile(metadata_path(one) + b"/cvmfs-webhook.json", broken),
            RemovePath(image_path(two)),
            PutLink(image_path(two), b"../nowhere"),
        ],
        now=repository.head().timestamp + 1,
    )
    result = command(runner, "ledger", "rebuild")
    assert result.exit_code == 0
    assert f"{image_path(one).decode()}: not understood" in result.stderr
    assert runner.image("atlas/one:1").state is State.REMOVED
    assert runner.image("atlas/two:1").state is State.REMOVED
