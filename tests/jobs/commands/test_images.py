"""``status`` tells the history of an image."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.harness.jobs import JobRunner
from tests.support.images.oci import Image, tar_of
from webhook.cli import main
from workers.jobs import run_job
from workers.reference import Reference

NAME = "atlas/analysis:v1"


@pytest.fixture
def at_work(runner: JobRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a job run whenever a command waits."""

    def work(_seconds: float) -> None:
        run_job(runner.services, Reference.parse(runner.reference(NAME)))

    monkeypatch.setattr("webhook.commands.images.time.sleep", work)


def command(runner: JobRunner, *words: str) -> Result:
    verb, *rest = words
    return CliRunner().invoke(main, [verb, *rest, "--config", str(runner.config)])


def ask(runner: JobRunner, *words: str) -> Any:
    result = command(runner, *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def publish(runner: JobRunner, text: bytes) -> Image:
    repository, _, tag = NAME.partition(":")
    image = runner.registry.push_image(repository, tag, [tar_of({"motd": text})])
    runner.clock.passes(10)
    runner.publish(NAME)
    return image


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
