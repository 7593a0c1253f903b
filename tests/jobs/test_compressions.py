"""However the layers of an image are packed, what is published is the same."""

import io
import json
import os
import tarfile

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.images.oci import (
    GZIP_LAYER_TYPE,
    Layer,
    digest_of,
    gzip_layer,
    gzip_members_layer,
    plain_layer,
    tar_of,
    zstd_frames_layer,
    zstd_layer,
)
from tests.support.images.tree_listing import differences
from workers.ledger import Outcome

TARS = [tar_of({f"file-{n}": b"%d" % n * 999, "last": b"%d" % n}) for n in range(5)]
MIXED = [
    gzip_layer(TARS[0]),
    plain_layer(TARS[1]),
    zstd_layer(TARS[2]),
    gzip_members_layer(TARS[3]),
    zstd_frames_layer(TARS[4]),
]


def test_an_image_may_mix_compressions(runner: JobRunner) -> None:
    image = runner.registry.push_image("atlas/mixed", "v1", MIXED)
    usual = runner.registry.push_image(
        "atlas/usual", "v1", TARS, config={"author": "another tree"}
    )
    runner.publish("atlas/mixed:v1")
    runner.publish("atlas/usual:v1")
    mixed = runner.listing(image.config_digest)
    assert mixed[b"file-2"].size == 999
    record = b".singularity.d/cvmfs-webhook.json"
    plain = runner.listing(usual.config_digest)
    assert mixed.pop(record) != plain.pop(record)
    assert differences(mixed, plain) == []


def test_what_estargz_adds_to_a_layer_is_in_the_tree_as_any_runtime_has_it(
    runner: JobRunner,
) -> None:
    """Its table of contents is a file of the archive, in a gzip member of its own."""
    contents = json.dumps({"version": 1, "entries": []}).encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, data in (
            (".no.prefetch.landmark", b"\x0f"),
            ("etc/motd", b"hello"),
            ("stargz.index.json", contents),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    layer = gzip_members_layer(archive.getvalue())
    image = runner.registry.push_image("atlas/estargz", "v1", [layer])
    runner.publish("atlas/estargz:v1")
    published = runner.listing(image.config_digest)
    assert {b"etc/motd", b"stargz.index.json"} <= published.keys()


@pytest.mark.parametrize(
    "layer", MIXED, ids=["gzip", "plain", "zstd", "gzip members", "zstd frames"]
)
def test_a_compression_that_its_media_type_does_not_name_is_read_all_the_same(
    runner: JobRunner, layer: Layer
) -> None:
    """Docker reads it so; what counts is that it unpacks to what the config says."""
    lying = Layer(layer.blob, GZIP_LAYER_TYPE["oci"], layer.diff_id)
    runner.registry.push_image("atlas/lying", "v1", [lying])
    runner.publish("atlas/lying:v1")
    assert runner.file("atlas/lying:v1", "last") is not None


def test_127_layers_are_published_and_128_are_refused(runner: JobRunner) -> None:
    """Overlay file systems take no more, and that is the usual limit of a rule."""
    layers = [gzip_layer(tar_of({"n": b"%d" % n, f"{n}": b""})) for n in range(128)]
    runner.registry.push_image("atlas/many", "v1", layers[:127])
    runner.registry.push_image("atlas/many", "v2", layers)
    runner.publish("atlas/many:v1")
    assert runner.file("atlas/many:v1", "n") == b"126"
    assert runner.file("atlas/many:v1", "0") == b""
    runner.want("atlas/many:v2")
    ended = runner.run("atlas/many:v2")
    assert ended.outcome is Outcome.FAILED
    assert "has 128 layers, its rule allows 127" in (ended.reason or "")


def test_a_layer_that_is_far_too_large_is_read_no_further_than_its_rule_allows(
    runner: JobRunner,
) -> None:
    runner.allow(limits="{size: 1MiB}")
    layer = plain_layer(tar_of({f"{n}": os.urandom(1 << 19) for n in range(64)}))
    runner.registry.push_image("atlas/large", "v1", [layer])
    # Who reads to the end finds this out first.
    runner.registry.corrupt(f"/blobs/{digest_of(layer.blob)}")
    runner.want("atlas/large:v1")
    ended = runner.run("atlas/large:v1")
    assert ended.outcome is Outcome.FAILED
    assert "larger than 1048576 bytes" in (ended.reason or "")
    assert runner.repository.read().lookup(b"/.flat") is None
