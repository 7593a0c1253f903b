"""Flat trees are shared by what their configs say, and made where a rule wants them."""

from tests.support.harness.jobs import Workshop
from tests.support.harness.steering import NAME, push
from tests.support.images.oci import digest_of, tar_of
from workers.formats.layers import layer_path
from workers.formats.paths import flat_path, image_path
from workers.ledger import Outcome, State
from workers.reference import Reference

OTHER = "atlas/analysis:v2"
FIRST = [tar_of({"etc/motd": b"first"})]


def test_a_second_tag_of_the_same_image_reuses_its_tree(shop: Workshop) -> None:
    image = push(shop, FIRST)
    shop.publish(NAME)
    asked = len(shop.registry.seen("GET", "/blobs/"))
    shop.registry.hold_image("atlas/analysis", "v2", image)

    shop.want(OTHER)
    run = shop.run(OTHER)

    assert run.outcome is Outcome.PUBLISHED
    assert State.CONVERTING not in run.seconds_by_stage
    assert len(shop.registry.seen("GET", "/blobs/")) == asked + 1  # the config
    assert shop.file(OTHER, "etc/motd") == b"first"


def test_a_rule_without_flat_trees_leaves_no_name_that_leads_nowhere(
    shop: Workshop,
) -> None:
    image = push(shop, FIRST)
    shop.publish(NAME)
    shop.allow(formats="[layers]")
    record = shop.publish(NAME)
    assert record.live_digest == image.digest
    read = shop.repository.read()
    reference = Reference.parse(shop.reference(NAME))
    assert read.lookup(image_path(reference)) is None
    assert read.lookup(layer_path(digest_of(image.layers[0].blob))) is not None
    assert shop.publish(NAME).revision == record.revision


def test_a_tree_that_is_shared_is_where_its_config_says(shop: Workshop) -> None:
    image = push(shop, FIRST)
    shop.publish(NAME)
    assert shop.repository.read().lookup(flat_path(image.config_digest)) is not None
