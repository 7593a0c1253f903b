"""Pushing, removing and restoring one name, as registries and operators do it."""

from tests.support.harness.jobs import Workshop
from tests.support.images.oci import Image
from workers.ledger import Outcome, RunRecord, orders
from workers.reference import Reference

NAME = "atlas/analysis:v1"


def push(shop: Workshop, layers: list[bytes], name: str = NAME) -> Image:
    """Put an image into the registry; nobody is told."""
    repository, _, tag = name.partition(":")
    return shop.registry.push_image(repository, tag, layers)


def publish(shop: Workshop, layers: list[bytes], name: str = NAME) -> Image:
    image = push(shop, layers, name)
    shop.publish(name)
    return image


def order(shop: Workshop, order: str, name: str = NAME) -> None:
    """Ask for something as the operator does."""
    shop.ledger.request(shop.reference(name), source="operator", order=order)


def remove(shop: Workshop, name: str = NAME) -> RunRecord:
    order(shop, orders.REMOVE, name)
    run = shop.run(name)
    assert run.outcome is Outcome.REMOVED, run.reason
    return run


def restore(shop: Workshop, image: Image) -> RunRecord:
    order(shop, orders.restore(image.digest))
    return shop.run(NAME)


def delete(shop: Workshop, name: str = NAME) -> None:
    """Delete a tag in the registry, and have it looked for."""
    repository, _, tag = name.partition(":")
    shop.registry.delete_tag(repository, tag)
    order(shop, orders.LOOK, name)


def has(shop: Workshop, path: bytes) -> bool:
    return shop.repository.read().lookup(path) is not None


def name_of(shop: Workshop, name: str = NAME) -> Reference:
    return Reference.parse(shop.reference(name))
