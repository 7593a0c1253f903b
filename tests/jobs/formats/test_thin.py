"""Thin images: pushed after the layers are in CVMFS, and found again."""

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.harness.jobs import FQRN, open_job_runner
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.thin_images import open_thin_job_runner, set_thin_template
from tests.support.images.oci import digest_of, tar_of
from tests.support.registries.distribution import distribution_registry
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.tools.programs import free_port, require_program
from workers.formats.paths import layer_path, metadata_path
from workers.ledger import Outcome
from workers.reference import InvalidReference, Reference, ReferenceTemplate

NAME = "atlas/analysis:v1"
LAYERS = [tar_of({"motd": b"hello"}), tar_of({"bin/run": b"#!/bin/sh\n"})]
CONFIG = {"config": {"Env": ["A=1"], "Cmd": ["run"], "Entrypoint": ["/bin/sh"]}}


def test_a_thin_image_says_where_the_layers_are(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with (
        distribution_registry(tmp_path / "target") as host,
        open_thin_job_runner(redis_server, tmp_path, host) as runner,
    ):
        image = runner.registry.push_image(
            "atlas/analysis", "v1", LAYERS, config=CONFIG
        )
        runner.publish(NAME)
        layout = tmp_path / "thin"
        subprocess.run(
            [
                *(
                    require_program("skopeo"),
                    "copy",
                    "--src-tls-verify=false",
                    "--quiet",
                ),
                f"docker://{host}/thin/atlas/analysis:v1",
                f"dir:{layout}",
            ],
            check=True,
        )
        manifest = json.loads((layout / "manifest.json").read_text())
        [layer] = manifest["layers"]
        with tarfile.open(layout / layer["digest"].partition(":")[2]) as tar:
            [member] = tar.getmembers()
            assert (member.name, member.mode) == ("thin.json", 0o644)
            content = tar.extractfile(member)
            assert content is not None
            said = content.read().decode()
        digests = [digest_of(each.blob) for each in image.layers]
        # As cvmfs-format.md 11 has it, which is what the graph driver parses.
        encoded = [digest.partition(":")[2] for digest in digests]
        document = {
            "version": "1.0",
            "origin": f"https://{runner.reference(NAME)}",
            "layers": [
                {
                    "digest": text,
                    "url": f"cvmfs://{FQRN}/.layers/{text[:2]}/{text}/layerfs",
                }
                for text in encoded
            ],
        }
        assert said == json.dumps(document, indent=2)
        for digest in digests:
            place = layer_path(digest) + b"/layerfs"
            assert runner.repository.read().lookup(place) is not None
        digest = manifest["config"]["digest"].partition(":")[2]
        config = json.loads((layout / digest).read_text())
        assert config["config"]["Env"] == ["A=1", "CVMFS_IMAGE=true"]
        assert config["config"]["Cmd"] == ["run"]
        assert config["config"]["Entrypoint"] == ["/bin/sh"]


def test_a_thin_image_that_could_not_be_pushed_is_pushed_at_the_next_try(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    port = free_port()
    with open_thin_job_runner(redis_server, tmp_path, f"127.0.0.1:{port}") as runner:
        runner.registry.push_image("atlas/analysis", "v1", LAYERS)
        runner.want(NAME)
        assert runner.run(NAME).outcome is Outcome.FAILED
        assert runner.image(NAME).next_try is not None
        folder = metadata_path(Reference.parse(runner.reference(NAME)))
        assert runner.repository.read().lookup(folder) is not None
        runner.wait_for_next_try(NAME)
        with distribution_registry(tmp_path / "target", port=port) as host:
            assert runner.run(NAME).outcome is Outcome.UNCHANGED
            thin = Reference.parse(f"{host}/thin/{NAME}")
            before = runner.services.registry.resolve(thin)
            runner.want(NAME)
            assert runner.run(NAME).outcome is Outcome.UNCHANGED
            assert runner.services.registry.resolve(thin) == before


def test_without_a_place_for_them_thin_images_fail_and_say_what_is_missing(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with open_job_runner(redis_server, tmp_path) as runner:
        runner.allow(formats="[thin]")
        runner.registry.push_image("atlas/analysis", "v1", LAYERS)
        runner.want(NAME)
        run = runner.run(NAME)
    assert run.outcome is Outcome.FAILED
    assert f"repositories.{FQRN}.thin" in str(run.reason)


def test_a_thin_image_never_replaces_the_image_that_it_stands_for(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with (
        FakeRegistry() as host,
        open_thin_job_runner(redis_server, tmp_path, host.host) as runner,
    ):
        image = runner.registry.push_image("atlas/analysis", "v1", LAYERS)
        set_thin_template(runner, f"{runner.registry.host}/{{repository}}:{{tag}}")
        runner.want(NAME)
        run = runner.run(NAME)
        assert run.outcome is Outcome.FAILED
        assert "itself: name another place" in str(run.reason)
        source = Reference.parse(runner.reference(NAME))
        assert runner.services.registry.resolve(source).digest == image.digest
        assert not runner.registry.seen("POST")


@pytest.mark.parametrize(
    "text",
    ["registry.example/thin:{tag}", "registry.example/{repository}", "A B:{tag}"],
)
def test_a_template_that_gives_several_images_one_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        ReferenceTemplate.parse(text)


def test_a_template_is_filled_with_all_parts_of_a_name() -> None:
    template = ReferenceTemplate.parse("a.example/thin/{registry}/{repository}:{tag}")
    filled = template.fill(Reference.parse("b.example:5000/group/image:v1"))
    assert str(filled) == "a.example/thin/b.example_5000/group/image:v1"
