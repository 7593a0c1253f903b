"""``repository prune`` says what it took out."""

from click.testing import CliRunner, Result

from tests.support.harness.jobs import FQRN, Workshop
from tests.support.images.oci import Image, tar_of
from webhook.cli import main

NAME, OTHER = "atlas/analysis:v1", "atlas/analysis:v2"
SHARED = tar_of({"shared": b"by both"})
FIRST = [SHARED, tar_of({"etc/motd": b"first"})]
SECOND = [SHARED, tar_of({"etc/motd": b"second"})]


def publish(shop: Workshop, layers: list[bytes], name: str = NAME) -> Image:
    repository, _, tag = name.partition(":")
    image = shop.registry.push_image(repository, tag, layers)
    shop.publish(name)
    return image


def command(shop: Workshop, *words: str) -> Result:
    config = ("--config", str(shop.config))
    return CliRunner().invoke(main, ["repository", "prune", FQRN, *words, *config])


def test_the_command_says_what_went(shop: Workshop) -> None:
    publish(shop, FIRST)
    publish(shop, SECOND, OTHER)
    result = command(shop)
    assert result.output == (
        f"{FQRN}: 0 trees and 0 memories of former images went, 5 trees are in use,"
        f" 0 are not ours; revision {shop.revision}\n"
    )
