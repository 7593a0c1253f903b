"""One service fills several CVMFS repositories, each with what its rules say."""

import dataclasses
from collections.abc import Iterator

import pytest

from tests.support.harness.jobs import FQRN, JobRunner
from tests.support.images.oci import digest_of, gzip_layer, tar_of
from tests.support.repositories.repository_builders import keys, save_new_keys
from workers.care.repository import create_missing_repositories
from workers.config import load_config
from workers.formats.paths import flat_path, image_path, layer_path
from workers.ledger import State
from workers.reference import Reference
from workers.wiring import Services, open_repository

OTHER = "other.example.org"
HERE, THERE = "atlas/here:v1", "atlas/there:v1"


@pytest.fixture
def both(runner: JobRunner) -> Iterator[JobRunner]:
    """Give a job runner with a second repository."""
    folder = runner.config.parent
    save_new_keys(keys(OTHER), folder / "keys")
    storage = (folder / "other").as_uri()
    with runner.config.open("a") as file:
        file.write(f'  {OTHER}: {{storage: "{storage}", keys: keys, ttl: 60}}\n')
    config = load_config(runner.config, {})
    create_missing_repositories(config)
    with Services.open(config) as opened:
        front = dataclasses.replace(opened.front, ledger=runner.ledger)
        runner.services = dataclasses.replace(opened, front=front)
        runner.write_policy(
            f"""\
version: 1
rules:
  - {{allow: "{runner.registry.host}/atlas/there", to: {OTHER}}}
  - {{allow: "{runner.registry.host}/**", to: {FQRN}}}
"""
        )
        yield runner


def places(runner: JobRunner, name: str) -> set[str]:
    """Return the repositories that have a name."""
    link = image_path(Reference.parse(runner.reference(name)))
    config = runner.services.config
    return {
        fqrn
        for fqrn in (FQRN, OTHER)
        if open_repository(config, fqrn).read().lookup(link) is not None
    }


def test_an_image_is_published_where_each_of_its_names_belongs(both: JobRunner) -> None:
    layer = gzip_layer(tar_of({"motd": b"hello"}))
    for name in (HERE, THERE):
        image_repository, _, tag = name.partition(":")
        image = both.registry.push_image(image_repository, tag, [layer])
        both.publish(name)
    assert (places(both, HERE), places(both, THERE)) == ({FQRN}, {OTHER})
    for fqrn, name in ((FQRN, HERE), (OTHER, THERE)):
        record = both.image(name)
        assert (record.state, record.repository) == (State.LIVE, fqrn)
        repository = open_repository(both.services.config, fqrn)
        assert record.revision == repository.head().revision == 2
        snapshot = repository.read()
        for path in (flat_path(image.config_digest), layer_path(digest_of(layer.blob))):
            assert snapshot.lookup(path) is not None


def test_removing_a_name_leaves_the_image_to_the_other_repository(
    both: JobRunner,
) -> None:
    for name in (HERE, THERE):
        repository, _, tag = name.partition(":")
        both.registry.push_image(repository, tag, [tar_of({"motd": b"hello"})])
        both.publish(name)
    both.ledger.request(both.reference(THERE), source="operator", order="remove")
    both.run(THERE)
    assert (places(both, HERE), places(both, THERE)) == ({FQRN}, set())
    assert both.image(HERE).state is State.LIVE
    assert both.file(HERE, "motd") == b"hello"
