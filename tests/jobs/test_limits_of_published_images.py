"""A rule's limits hold for what the repository has already, too.

One rule lets an image in; another name of it, under a stricter rule, is refused.
"""

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.images import tars
from tests.support.images.oci import tar_of
from workers.ledger import Outcome

LARGE, STRICT = "atlas/large:v1", "atlas/strict:v1"
LAYERS = [tar_of({"a": b"a" * 600, "b": b"b"}), tar_of({"c": b"c" * 600})]


def rules(runner: JobRunner, formats: str, limits: str) -> None:
    runner.write_policy(
        f"""\
version: 1
rules:
  - allow: {runner.registry.host}/atlas/strict
    formats: {formats}
    limits: {limits}
  - allow: {runner.registry.host}/**
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
    runner: JobRunner, formats: str, limits: str, words: str
) -> None:
    rules(runner, formats, limits)
    for name in (LARGE, STRICT):
        repository, _, tag = name.partition(":")
        runner.registry.push_image(repository, tag, LAYERS)
    runner.publish(LARGE)

    runner.want(STRICT)
    ended = runner.run(STRICT)

    assert ended.outcome is Outcome.FAILED
    assert words in (ended.reason or "")


@pytest.mark.parametrize("formats", ["[flat]", "[layers]", "[flat, layers]"])
def test_what_is_held_and_within_the_limits_is_published(
    runner: JobRunner, formats: str
) -> None:
    rules(runner, formats, "{size: 1201, files: 3, layers: 2}")
    for name in (LARGE, STRICT):
        repository, _, tag = name.partition(":")
        runner.registry.push_image(repository, tag, LAYERS)
        runner.publish(name)


def test_names_of_held_layers_count_as_much_as_those_of_new_ones(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each layer alone is within the limit, and is published; together they are not."""
    monkeypatch.setattr("workers.images.layers.budget._METADATA_BYTES", 5000)
    rules(runner, "[layers]", "{}")
    layers = [
        tars.tar(tars.gnu_link(letter * 3000, tars.symlink(letter, b"")))
        for letter in (b"a", b"b")
    ]
    for number, layer in enumerate(layers):
        runner.registry.push_image(f"atlas/{number}", "1", [layer])
        runner.publish(f"atlas/{number}:1")
    runner.registry.push_image("atlas/both", "1", layers)
    runner.want("atlas/both:1")
    run = runner.run("atlas/both:1")
    assert run.outcome is Outcome.FAILED
    assert "names and attributes take more than 5000 bytes" in (run.reason or "")
