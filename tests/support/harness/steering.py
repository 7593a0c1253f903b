"""Pushing, removing and restoring one name, as registries and operators do it."""

from tests.support.harness.jobs import JobRunner
from tests.support.images.oci import Image
from workers.ledger import Outcome, RunRecord, orders
from workers.reference import Reference

NAME = "atlas/analysis:v1"


def push(runner: JobRunner, layers: list[bytes], name: str = NAME) -> Image:
    """Put an image into the registry; nobody is told."""
    repository, _, tag = name.partition(":")
    return runner.registry.push_image(repository, tag, layers)


def publish(runner: JobRunner, layers: list[bytes], name: str = NAME) -> Image:
    image = push(runner, layers, name)
    runner.publish(name)
    return image


def order(runner: JobRunner, order: str, name: str = NAME) -> None:
    """Ask for something as the operator does."""
    runner.ledger.request(runner.reference(name), source="operator", order=order)


def remove(runner: JobRunner, name: str = NAME) -> RunRecord:
    order(runner, orders.REMOVE, name)
    run = runner.run(name)
    assert run.outcome is Outcome.REMOVED, run.reason
    return run


def restore(runner: JobRunner, image: Image) -> RunRecord:
    order(runner, orders.restore(image.digest))
    return runner.run(NAME)


def delete(runner: JobRunner, name: str = NAME) -> None:
    """Delete a tag in the registry, and have it looked for."""
    repository, _, tag = name.partition(":")
    runner.registry.delete_tag(repository, tag)
    order(runner, orders.LOOK, name)


def has(runner: JobRunner, path: bytes) -> bool:
    return runner.repository.read().lookup(path) is not None


def name_of(runner: JobRunner, name: str = NAME) -> Reference:
    return Reference.parse(runner.reference(name))


def give_up(runner: JobRunner, name: str = NAME, *, status: int = 403) -> None:
    """Let the registry refuse a name for so long that nobody tries it any more."""
    runner.registry.fail("", "/manifests/", status=status)
    runner.want(name)
    while runner.run(name).next_try is not None:
        runner.wait_for_next_try(name)
    runner.registry.mend()
