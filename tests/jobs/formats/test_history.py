"""Former digests of a tag are remembered in the repository, in small catalogs."""

from tests.support.harness.jobs import JobRunner
from tests.support.harness.ledger import D3
from tests.support.harness.steering import NAME, publish, push, restore
from tests.support.images.oci import tar_of
from workers.formats.catalogs import is_catalog
from workers.formats.history import former_path
from workers.formats.paths import (
    FORMER,
)
from workers.ledger import Outcome
from workers.reference import Reference

FIRST = [tar_of({"etc/motd": b"first"})]
SECOND = [tar_of({"etc/motd": b"second"})]


def test_what_the_repository_does_not_remember_comes_from_the_registry(
    runner: JobRunner,
) -> None:
    first = push(runner, FIRST)
    publish(runner, SECOND)
    assert restore(runner, first).outcome is Outcome.PUBLISHED
    assert runner.file(NAME, "etc/motd") == b"first"


def test_what_is_remembered_lies_in_small_catalogs() -> None:
    assert is_catalog(FORMER)
    assert is_catalog(FORMER + b"/registry.example.org/atlas")
    assert not is_catalog(FORMER + b"/registry.example.org/atlas/analysis:v1")
    assert not is_catalog(former_path(Reference.parse("a.b/c:d"), D3))
