"""``status`` tells the history of an image."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.harness.jobs import Workshop
from tests.support.images.oci import Image, tar_of
from webhook.cli import main
from workers.jobs import run_job
from workers.reference import Reference

NAME = "atlas/analysis:v1"


@pytest.fixture
def at_work(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a job run whenever a command waits."""

    def work(_seconds: float) -> None:
        run_job(shop.services, Reference.parse(shop.reference(NAME)))

    monkeypatch.setattr("webhook.commands.images.time.sleep", work)


def command(shop: Workshop, *words: str) -> Result:
    verb, *rest = words
    return CliRunner().invoke(main, [verb, *rest, "--config", str(shop.config)])


def ask(shop: Workshop, *words: str) -> Any:
    result = command(shop, *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def publish(shop: Workshop, text: bytes) -> Image:
    repository, _, tag = NAME.partition(":")
    image = shop.registry.push_image(repository, tag, [tar_of({"motd": text})])
    shop.clock.passes(10)
    shop.publish(NAME)
    return image


def test_the_status_tells_which_digest_was_live_when(
    shop: Workshop, at_work: None
) -> None:
    images = [publish(shop, text) for text in (b"first", b"second")]
    command(shop, "remove", shop.reference(NAME), "--wait")
    lives = ask(shop, "status", shop.reference(NAME))["lives"]
    digests = [image.digest for image in images]
    assert [live["digest"] for live in lives] == [None, *reversed(digests)]
    assert [live["revision"] for live in lives] == [None, 3, 2]
    lines = command(shop, "status", shop.reference(NAME)).output.splitlines()
    told = [line for line in lines if line.startswith("  live 2")]
    assert [line.split()[-3] for line in told] == [d[:19] for d in reversed(digests)]
    assert "now" not in "".join(told)
