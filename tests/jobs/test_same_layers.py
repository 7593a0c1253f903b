"""Images that share their layers, and images that only share their name."""

import dataclasses
import os

import pytest
from click.testing import CliRunner

from tests.support.harness.jobs import FQRN, JobRunner
from tests.support.images.oci import Image, build_image, digest_of, gzip_layer, tar_of
from tests.support.registries.fake_registry import FakeRegistry
from webhook.cli import main
from workers.formats.paths import flat_path, image_path, metadata_path
from workers.jobs import run_job
from workers.ledger import Hint, Outcome, State
from workers.reference import Reference
from workers.registry import RegistryClient
from workers.registry.auth.access import RegistryAccess

NAME = "atlas/analysis:v1"
LAYERS = [gzip_layer(tar_of({"a": b"a"})), gzip_layer(tar_of({"b": b"b"}))]
SCRIPT = ".singularity.d/env/10-docker2singularity.sh"


def push(runner: JobRunner, environment: list[str]) -> Image:
    config = {"config": {"Env": environment}}
    return runner.registry.push_image("atlas/analysis", "v1", LAYERS, config=config)


def downloads(runner: JobRunner) -> int:
    return sum(
        len(runner.registry.seen("GET", f"/blobs/{digest_of(layer.blob)}"))
        for layer in LAYERS
    )


def test_a_change_in_the_dockerfile_alone_is_published_without_a_download(
    runner: JobRunner,
) -> None:
    """OSG's sync took it for the image that it had: the layers are the same."""
    first = push(runner, ["A=first"])
    runner.publish(NAME)
    assert b"A=first" in (runner.file(NAME, SCRIPT) or b"")
    before = downloads(runner)

    second = push(runner, ["A=second"])
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED

    assert first.config_digest != second.config_digest
    assert runner.image(NAME).live_digest == second.digest
    assert b"A=second" in (runner.file(NAME, SCRIPT) or b"")
    assert runner.file(NAME, "a") == b"a"
    assert downloads(runner) == before


def test_one_name_in_two_registries_is_two_images(runner: JobRunner) -> None:
    layers = {"here": [tar_of({"who": b"here"})], "there": [tar_of({"who": b"there"})]}
    with FakeRegistry() as other:
        hosts = (runner.registry.host, other.host)
        accesses = {host: RegistryAccess(host, plain_http=True) for host in hosts}
        with RegistryClient(accesses, internal_hosts=frozenset(hosts)) as client:
            services = dataclasses.replace(runner.services, registry=client)
            rules = "".join(f"\n  - allow: {host}/**" for host in hosts)
            runner.write_policy(f"version: 1\nrules:{rules}\n")
            runner.registry.push_image("atlas/analysis", "v1", layers["here"])
            other.push_image("atlas/analysis", "v1", layers["there"])
            for host in hosts:
                reference = f"{host}/{NAME}"
                hint = Hint(None, "test", is_news=False)
                runner.ledger.request(reference, source="test", hint=hint)
                run_job(services, Reference.parse(reference))
    snapshot = runner.repository.read()
    found = []
    for host in hosts:
        record = runner.ledger.image(f"{host}/{NAME}")
        assert record is not None
        assert (record.state, record.repository) == (State.LIVE, FQRN)
        link = image_path(Reference.parse(f"{host}/{NAME}"))
        file = snapshot.lookup(snapshot.resolve(link) + b"/who")
        assert file is not None
        found.append(snapshot.read(file))
    assert found == [b"here", b"there"]


def test_a_tag_that_is_listed_and_not_there_fails_alone(runner: JobRunner) -> None:
    """A cache lists what is deleted upstream; once that turned a whole batch red."""
    push(runner, [])
    runner.registry.push_image("atlas/analysis", "gone", LAYERS)
    runner.registry.fail("", "/manifests/gone", status=404)
    client = runner.services.registry
    tags = client.tags(Reference.parse(runner.reference(NAME)))
    assert sorted(tags) == ["gone", "v1"]
    for tag in ("gone", "v1"):
        runner.want(f"atlas/analysis:{tag}")
        runner.run(f"atlas/analysis:{tag}")
    assert runner.image("atlas/analysis:gone").state is State.FAILED
    assert runner.image(NAME).state is State.LIVE


def find_by_asking(runner: JobRunner) -> str:
    """Look for all that the registry has; return what is said of it."""
    runner.allow(watch="{every: 15m, existing: all}")
    runner.registry.has_catalog = True
    words = ("reconcile", "--once", "--config", str(runner.config))
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_tag_that_is_listed_and_not_there_keeps_no_other_from_being_found(
    runner: JobRunner,
) -> None:
    push(runner, [])
    runner.registry.push_image("atlas/analysis", "gone", LAYERS)
    runner.registry.fail("", "/manifests/gone", status=404)
    assert "atlas/analysis: 2 tags; queued: v1\n" in find_by_asking(runner)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


def test_all_names_that_a_wildcard_finds_are_there_and_share_what_they_are_made_of(
    runner: JobRunner,
) -> None:
    base, more = build_image(LAYERS[:1]), build_image(LAYERS)
    names = {
        "atlas/first:base": base,
        "atlas/first:base_another_tag": base,
        "atlas/first:more": more,
        "atlas/first:more_another_tag": more,
        "atlas/second:base": base,
        "atlas/second:more": more,
    }
    for name, image in names.items():
        repository, _, tag = name.partition(":")
        runner.registry.hold_image(repository, tag, image)
    find_by_asking(runner)
    for name in names:
        assert runner.run(name).outcome is Outcome.PUBLISHED
    snapshot = runner.repository.read()
    for name, image in names.items():
        reference = Reference.parse(runner.reference(name))
        link = image_path(reference)
        assert snapshot.resolve(link) == flat_path(image.config_digest)
        manifest = snapshot.lookup(metadata_path(reference) + b"/manifest.json")
        assert manifest is not None
        assert snapshot.read(manifest) == image.manifest
    assert downloads(runner) == len(LAYERS)


def test_a_file_that_many_layers_have_is_stored_once(runner: JobRunner) -> None:
    data = os.urandom(100_000)
    for number in range(3):
        layers = [tar_of({f"{number}/{n}": data, "own": b"%d" % n}) for n in range(2)]
        runner.registry.push_image("atlas/analysis", f"v{number}", layers)
        runner.publish(f"atlas/analysis:v{number}")
    folder = runner.config.parent / "cvmfs" / "data"
    large = [path for path in folder.glob("??/*") if path.stat().st_size > len(data)]
    assert len(large) == 1


@pytest.mark.parametrize("order", [("v1", "v2"), ("v2", "v1")])
def test_tags_that_share_all_digests_are_all_there_and_share_one_tree(
    runner: JobRunner, order: tuple[str, str]
) -> None:
    for tag in order:
        runner.registry.push_image("atlas/analysis", tag, LAYERS)
        runner.publish(f"atlas/analysis:{tag}")
    snapshot = runner.repository.read()
    trees = {
        snapshot.resolve(
            image_path(Reference.parse(runner.reference(f"atlas/analysis:{tag}")))
        )
        for tag in order
    }
    assert len(trees) == 1
    assert downloads(runner) == len(LAYERS)
