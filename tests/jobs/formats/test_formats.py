"""What another tool put where our trees belong is made again, not trusted.

DUCC uses the same paths, and loses owners, modes, times and the meaning of whiteouts.
"""

import time

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.images.oci import Image, digest_of, gzip_layer, tar_of
from workers.cvmfs import Change, PutFile
from workers.formats.paths import flat_path
from workers.ledger import Outcome

LAYER = gzip_layer(tar_of({"ours": b"ours"}))
NAME = "atlas/image:v1"


@pytest.fixture
def image(runner: JobRunner) -> Image:
    repository, _, tag = NAME.partition(":")
    return runner.registry.push_image(repository, tag, [LAYER], config={"author": NAME})


def put(runner: JobRunner, *files: tuple[bytes, bytes]) -> None:
    """Commit files as another tool would."""
    repository = runner.repository
    changes: list[Change] = [
        PutFile(path, repository.sink.put_bytes(content)) for path, content in files
    ]
    repository.commit(changes, now=int(time.time()))


def test_a_root_file_system_of_another_tool_is_made_again(
    runner: JobRunner, image: Image
) -> None:
    runner.allow(formats="[flat]")
    place = flat_path(image.config_digest)
    script = place + b"/.singularity.d/actions/exec"
    put(runner, (place + b"/theirs", b"theirs"), (script, b"#!/bin/sh\n"))
    runner.publish(NAME)
    snapshot = runner.repository.read()
    assert snapshot.lookup(place + b"/theirs") is None
    assert runner.file(NAME, "ours") == b"ours"
    written = snapshot.lookup(script)
    assert written is not None
    assert b"_singularity_script" in snapshot.read(written)


def test_what_we_made_is_not_made_again_for_another_tag(runner: JobRunner) -> None:
    for tag in ("v1", "v2"):
        runner.registry.push_image("atlas/image", tag, [LAYER], config={"author": "x"})
        runner.want(f"atlas/image:{tag}")
        assert runner.run(f"atlas/image:{tag}").outcome is Outcome.PUBLISHED
    assert len(runner.registry.seen("GET", f"/blobs/{digest_of(LAYER.blob)}")) == 1
