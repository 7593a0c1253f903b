"""``repository prune`` says what it took out."""

from click.testing import CliRunner, Result

from tests.support.harness.jobs import FQRN, JobRunner
from tests.support.images.oci import Image, tar_of
from webhook.cli import main

NAME, OTHER = "atlas/analysis:v1", "atlas/analysis:v2"
SHARED = tar_of({"shared": b"by both"})
FIRST = [SHARED, tar_of({"etc/motd": b"first"})]
SECOND = [SHARED, tar_of({"etc/motd": b"second"})]


def publish(runner: JobRunner, layers: list[bytes], name: str = NAME) -> Image:
    repository, _, tag = name.partition(":")
    image = runner.registry.push_image(repository, tag, layers)
    runner.publish(name)
    return image


def command(runner: JobRunner, *words: str) -> Result:
    config = ("--config", str(runner.config))
    return CliRunner().invoke(main, ["repository", "prune", FQRN, *words, *config])


def test_the_command_says_what_went(runner: JobRunner) -> None:
    publish(runner, FIRST)
    publish(runner, SECOND, OTHER)
    result = command(runner)
    assert result.output == (
        f"{FQRN}: 0 trees and 0 memories of former images went, 5 trees are in use,"
        f" 0 are not ours; revision {runner.revision}\n"
    )
