"""``publish`` tells how to use an image, ``status`` its history."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.harness.image_commands import NAME, ask, command, publish
from tests.support.harness.jobs import FQRN, JobRunner
from tests.support.harness.ledger import D1
from tests.support.images.oci import tar_of
from webhook.cli import main


def test_the_status_tells_which_digest_was_live_when(
    runner: JobRunner, at_work: None
) -> None:
    images = [publish(runner, text) for text in (b"first", b"second")]
    command(runner, "remove", runner.reference(NAME), "--wait")
    lives = ask(runner, "status", runner.reference(NAME))["lives"]
    digests = [image.digest for image in images]
    assert [live["digest"] for live in lives] == [None, *reversed(digests)]
    assert [live["revision"] for live in lives] == [None, 3, 2]
    lines = command(runner, "status", runner.reference(NAME)).output.splitlines()
    told = [line for line in lines if line.startswith("  live 2")]
    assert [line.split()[-3] for line in told] == [d[:19] for d in reversed(digests)]
    assert "now" not in "".join(told)


@pytest.mark.parametrize(
    ("formats", "told"),
    [
        ("[layers, flat]", "/cvmfs/{fqrn}/{name}"),
        ("[podman]", "podman run {name}"),
        ("[layers]", "/cvmfs/{fqrn}/.layers"),
    ],
)
def test_publish_ends_with_the_usual_way_to_use_the_image(
    runner: JobRunner, at_work: None, formats: str, told: str
) -> None:
    runner.allow(formats=formats)
    publish(runner, b"first")
    name = runner.reference(NAME)
    result = command(runner, "publish", name, "--wait")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == told.format(fqrn=FQRN, name=name)


def test_the_status_can_be_narrowed_to_a_state(runner: JobRunner) -> None:
    publish(runner, b"first")
    runner.want("atlas/absent:v1")
    runner.run("atlas/absent:v1")
    (failed,) = ask(runner, "status", "--state", "failed")
    assert failed["reference"] == runner.reference("atlas/absent:v1")
    assert command(runner, "status", "--state", "live").output.startswith("live ")
    assert command(runner, "status", "--state", "queued").output == (
        "No image is queued.\n"
    )
    assert command(runner, "status", "--state", "lost").exit_code == 2


@pytest.mark.parametrize("one", [True, False], ids=["one image", "all"])
def test_who_watches_is_told_of_each_change(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch, *, one: bool
) -> None:
    publish(runner, b"first")
    other = "atlas/absent:v1"
    happens: list[Callable[[], object]] = [
        lambda: runner.want(other),
        lambda: None,
        lambda: (runner.run(other), runner.want(NAME, D1)),
    ]

    def wait(_seconds: float) -> None:
        if not happens:
            raise KeyboardInterrupt
        happens.pop(0)()

    monkeypatch.setattr("webhook.commands.images.time.sleep", wait)
    words = ["status", "--watch", *([runner.reference(NAME)] if one else [])]
    lines = command(runner, *words).output.splitlines()
    told = [line.split()[:2] for line in lines if runner.registry.host in line]
    mine, others = runner.reference(NAME), runner.reference(other)
    changes = [["live", mine], ["queued", others], ["failed", others], ["queued", mine]]
    expected = [change for change in changes if change[1] == mine or not one]
    assert sorted(told) == sorted(expected)


def test_waiting_ends_with_how_the_run_ended(runner: JobRunner, at_work: None) -> None:
    image = publish(runner, b"first")
    name = runner.reference(NAME)
    said = command(runner, "publish", name, "--wait").stdout.splitlines()
    assert said[0].split()[:2] == ["queued", name]
    assert said[1].split()[:3] == ["unchanged", name, image.digest[:19]]
    said = command(runner, "publish", name, "--wait", "--force").stdout.splitlines()
    assert said[1].split()[:4] == ["published", name, image.digest[:19], "revision"]
    record = ask(runner, "publish", name, "--wait")
    assert record["last_run"]["outcome"] == "unchanged"


def test_who_waits_hears_of_a_failure_that_may_pass_and_of_the_next_try(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, _, tag = NAME.partition(":")
    runner.registry.push_image(repository, tag, [tar_of({"motd": b"first"})])
    runner.registry.fail("GET", "/blobs/", status=503)
    calls: list[str] = []

    def work(_seconds: float) -> None:
        if threading.current_thread() is not waiting or "run" in calls[-1:]:
            return  # a client of the job pauses
        if calls:
            runner.registry.mend()
            runner.wait_for_next_try(NAME)
        calls.append("run")
        runner.run(NAME)
        calls.append("over")

    waiting = threading.current_thread()
    monkeypatch.setattr("webhook.commands.images.time.sleep", work)
    result = command(runner, "publish", runner.reference(NAME), "--wait")
    queued, failed, published, _ = result.stdout.splitlines()
    assert queued.startswith("queued ")
    assert "503" in failed
    assert "  next try 2" in failed
    assert published.startswith("published ")
    assert all(line.count(NAME) == 1 for line in (queued, failed, published))


def test_without_a_configuration_it_is_said_where_one_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CVMFS_WEBHOOK_CONFIG", raising=False)
    result = CliRunner().invoke(main, ["status"])
    assert result.exit_code == 2
    for told in (".state/config.yaml", "--config", "CVMFS_WEBHOOK_CONFIG"):
        assert told in result.stderr
    (tmp_path / ".state").mkdir()
    (tmp_path / ".state" / "config.yaml").write_text("listen: nowhere\n")
    result = CliRunner().invoke(main, ["status"])
    found = f"error: {tmp_path}/.state/config.yaml: listen: "
    assert result.stderr.startswith(found)
