"""A rule's limits hold for what the repository has already, too.

One rule lets an image in; another name of it, under a stricter rule, is refused.
"""

import pytest

from tests.support.harness.jobs import Workshop
from tests.support.images.oci import tar_of
from workers.ledger import Outcome

LARGE, STRICT = "atlas/large:v1", "atlas/strict:v1"
LAYERS = [tar_of({"a": b"a" * 600, "b": b"b"}), tar_of({"c": b"c" * 600})]


def rules(shop: Workshop, formats: str, limits: str) -> None:
    shop.write_policy(
        f"""\
version: 1
rules:
  - allow: {shop.registry.host}/atlas/strict
    formats: {formats}
    limits: {limits}
  - allow: {shop.registry.host}/**
    formats: {formats}
"""
    )


@pytest.mark.parametrize("formats", ["[flat]", "[layers]", "[flat, layers]"])
@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ("{size: 1000}", "larger than 1000 bytes"),
        ("{files: 2}", "more than 2 files"),
        ("{layers: 1}", "has 2 layers, its rule allows 1"),
    ],
)
def test_what_is_held_is_refused_where_a_rule_allows_less(
    shop: Workshop, formats: str, limits: str, words: str
) -> None:
    rules(shop, formats, limits)
    for name in (LARGE, STRICT):
        repository, _, tag = name.partition(":")
        shop.registry.push_image(repository, tag, LAYERS)
    shop.publish(LARGE)

    shop.want(STRICT)
    ended = shop.run(STRICT)

    assert ended.outcome is Outcome.FAILED
    assert words in (ended.reason or "")


@pytest.mark.parametrize("formats", ["[flat]", "[layers]", "[flat, layers]"])
def test_what_is_held_and_within_the_limits_is_published(
    shop: Workshop, formats: str
) -> None:
    rules(shop, formats, "{size: 1201, files: 3, layers: 2}")
    for name in (LARGE, STRICT):
        repository, _, tag = name.partition(":")
        shop.registry.push_image(repository, tag, LAYERS)
        shop.publish(name)
