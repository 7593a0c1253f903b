"""Flat trees are shared by what their configs say, and made where a rule wants them."""

from tests.support.harness.jobs import JobRunner
from tests.support.harness.steering import NAME, push
from tests.support.images import tars
from tests.support.images.oci import digest_of, tar_of
from workers.formats.paths import flat_path, image_path, layer_path
from workers.ledger import Outcome, State
from workers.reference import Reference

OTHER = "atlas/analysis:v2"
FIRST = [tar_of({"etc/motd": b"first"})]


def test_a_second_tag_of_the_same_image_reuses_its_tree(runner: JobRunner) -> None:
    image = push(runner, FIRST)
    runner.publish(NAME)
    asked = len(runner.registry.seen("GET", "/blobs/"))
    runner.registry.hold_image("atlas/analysis", "v2", image)

    runner.want(OTHER)
    run = runner.run(OTHER)

    assert run.outcome is Outcome.PUBLISHED
    assert State.CONVERTING not in run.seconds_by_stage
    assert len(runner.registry.seen("GET", "/blobs/")) == asked + 1  # the config
    assert runner.file(OTHER, "etc/motd") == b"first"


def test_a_rule_without_flat_trees_leaves_no_name_that_leads_nowhere(
    runner: JobRunner,
) -> None:
    image = push(runner, FIRST)
    runner.publish(NAME)
    runner.allow(formats="[layers]")
    record = runner.publish(NAME)
    assert record.live_digest == image.digest
    read = runner.repository.read()
    reference = Reference.parse(runner.reference(NAME))
    assert read.lookup(image_path(reference)) is None
    assert read.lookup(layer_path(digest_of(image.layers[0].blob))) is not None
    assert runner.publish(NAME).revision == record.revision


def test_a_tree_that_is_shared_is_where_its_config_says(runner: JobRunner) -> None:
    image = push(runner, FIRST)
    runner.publish(NAME)
    assert runner.repository.read().lookup(flat_path(image.config_digest)) is not None


def test_an_image_that_links_the_scripts_elsewhere_is_not_written_through(
    runner: JobRunner,
) -> None:
    layer = tars.tar(
        tars.file(b"usr/bin/test", b"own", mode=0o755),
        tars.symlink(b".singularity.d/actions", b"/usr/bin"),
    )
    push(runner, [layer])
    runner.publish(NAME)
    assert runner.file(NAME, "usr/bin/test") == b"own"
    assert runner.file(NAME, "usr/bin/exec") is None
    script = runner.file(NAME, ".singularity.d/actions/exec")
    assert str(script).startswith("b'#!/bin/sh")
    # And it is known for ours.
    runner.registry.push_image("atlas/analysis", "v2", [layer])
    runner.want(OTHER)
    assert State.CONVERTING not in runner.run(OTHER).seconds_by_stage
