"""Indexes as today's tools make them: attestations among the images, odd variants."""

import json

import pytest

from tests.support.harness.image_commands import ask, command
from tests.support.harness.jobs import FQRN, JobRunner
from tests.support.images.oci import (
    INDEX_TYPE,
    Image,
    Layer,
    build_image,
    descriptor,
    digest_of,
    tar_of,
)
from workers.ledger import Outcome

NAME = "atlas/analysis:v1"
STATEMENT = b'{"_type": "https://in-toto.io/Statement/v0.1"}'


def attestation(image: Image) -> tuple[Image, dict[str, object]]:
    """Return what buildx adds for an image, and how its index names it."""
    layer = Layer(STATEMENT, "application/vnd.in-toto+json", digest_of(STATEMENT))
    made = build_image([layer], platform="unknown/unknown")
    annotations = {
        "vnd.docker.reference.digest": image.digest,
        "vnd.docker.reference.type": "attestation-manifest",
    }
    platform = {"os": "unknown", "architecture": "unknown"}
    entry = descriptor(
        made.manifest, made.media_type, platform=platform, annotations=annotations
    )
    return made, entry


def push_index(runner: JobRunner, platform: dict[str, str], image: Image) -> Image:
    """Push an index of an image under a platform, and of its attestation."""
    attested, second = attestation(image)
    for each in (image, attested):
        runner.registry.hold_image("atlas/analysis", None, each)
    first = descriptor(image.manifest, image.media_type, platform=platform)
    document = {"schemaVersion": 2, "manifests": [second, first]}
    raw, kind = json.dumps(document).encode(), INDEX_TYPE["oci"]
    runner.registry.push_manifest("atlas/analysis", "v1", raw, kind)
    return attested


def test_attestations_beside_an_image_are_not_even_fetched(runner: JobRunner) -> None:
    image = build_image([tar_of({"motd": b"hello"})])
    platform = {"os": "linux", "architecture": "amd64"}
    attested = push_index(runner, platform, image)
    runner.publish(NAME)
    assert runner.file(NAME, "motd") == b"hello"
    assert runner.registry.seen("GET", image.digest)
    for digest in (attested.digest, attested.config_digest, digest_of(STATEMENT)):
        assert not runner.registry.seen("", digest)


def test_attestations_are_none_of_the_platforms_that_an_image_has(
    runner: JobRunner,
) -> None:
    image = build_image([tar_of({"motd": b"hello"})], platform="linux/arm64")
    push_index(runner, {"os": "linux", "architecture": "arm64"}, image)
    runner.want(NAME)
    run = runner.run(NAME)
    assert run.outcome is Outcome.FAILED
    assert "it has linux/arm64: " in str(run.reason)


@pytest.mark.parametrize("wanted", ["linux/arm64", "linux/arm64/v8"])
@pytest.mark.parametrize("variant", [{}, {"variant": "v8"}], ids=["none", "v8"])
def test_a_platform_is_the_same_with_and_without_its_usual_variant(
    runner: JobRunner, wanted: str, variant: dict[str, str]
) -> None:
    """As DUCC had to learn: tools leave out v8 as they like, in index and config."""
    runner.allow(platforms=f"[{wanted}]")
    image = build_image([tar_of({"motd": b"hello"})], platform="linux/arm64/v8")
    push_index(runner, {"os": "linux", "architecture": "arm64", **variant}, image)
    runner.publish(NAME)
    assert runner.file(NAME, "motd") == b"hello"


def test_the_word_of_an_index_counts_and_status_says_so(runner: JobRunner) -> None:
    image = build_image([tar_of({"motd": b"hello"})], platform="linux/arm64")
    push_index(runner, {"os": "linux", "architecture": "amd64"}, image)
    record = runner.publish(NAME)
    assert runner.file(NAME, "motd") == b"hello"
    [note] = record.notes
    assert note.startswith("Its index says that it is for linux/amd64, its config lin")
    told = ask(runner, "status", runner.reference(NAME))["notes"]
    assert told == [note]
    exported = command(
        runner, "repository", "export", FQRN, runner.reference(NAME),
        "--platform", "linux/amd64", "--format", "tar", "--to", "-",
    )  # fmt: skip
    assert exported.exit_code == 0


def test_a_single_manifest_of_a_variant_is_published_and_that_is_noted(
    runner: JobRunner,
) -> None:
    image = build_image([tar_of({"motd": b"hello"})], platform="linux/amd64/v2")
    runner.registry.hold_image("atlas/analysis", "v1", image)
    assert "linux/amd64/v2" in str(runner.publish(NAME).notes)
    assert runner.file(NAME, "motd") == b"hello"
