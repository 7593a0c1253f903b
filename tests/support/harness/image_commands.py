"""The commands that ask for work on one image, as an operator types them."""

import json
from typing import Any

from click.testing import CliRunner, Result

from tests.support.harness.jobs import JobRunner
from tests.support.images.oci import Image, tar_of
from webhook.cli import main

NAME = "atlas/analysis:v1"


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
