"""``repository export`` as operators meet it, and what ``policy check`` says of it."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support.harness.jobs import JobRunner
from tests.support.images import tars
from webhook.cli import main
from workers.care.repository import create_repository
from workers.config import load_config

FQRN = "unpacked.example.org"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    storage = (tmp_path / "cvmfs").as_uri()
    path.write_text(
        f"""\
state: .
policy: policy.yaml
repositories:
  {FQRN}: {{storage: "{storage}", keys: keys, ttl: 60}}
"""
    )
    (tmp_path / "policy.yaml").write_text(
        "version: 1\nrules: [{allow: a.b/c, formats: [image]}]\n"
    )
    create_repository(load_config(path, {}), FQRN)
    return path


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--config", str(config)])


def test_an_image_that_is_not_published_is_one_line(
    config: Path, tmp_path: Path
) -> None:
    to = tmp_path / "out"
    result = run(config, "repository", "export", FQRN, "a.b/c:v1", "--to", str(to))
    assert result.exit_code == 1
    assert result.stderr == "error: a.b/c:v1 is not published here\n"
    assert not to.exists()


@pytest.mark.parametrize("kind", ["dir", "oci", "sqfs"])
def test_what_is_no_stream_does_not_go_to_standard_output(
    config: Path, kind: str
) -> None:
    words = ["export", FQRN, "a.b/c:v1", "--format", kind, "--to", "-"]
    result = run(config, "repository", *words)
    assert result.exit_code == 2
    assert "give --to a name" in result.stderr


def test_json_is_not_mixed_with_an_export(config: Path) -> None:
    words = ["export", FQRN, "a.b/c:v1", "--format", "tar", "--to", "-", "--json"]
    assert run(config, "repository", *words).exit_code == 2


def test_what_the_destination_cannot_hold_is_named_with_what_helps(
    runner: JobRunner, tmp_path: Path
) -> None:
    odd = tars.xattrs({b"com.apple.provenance": b"1"}, tars.file(b"etc/mac", b"1"))
    runner.registry.push_image("atlas/mac", "v1", [tars.tar(odd)])
    runner.publish("atlas/mac:v1")
    words = ["repository", "export", FQRN, runner.reference("atlas/mac:v1")]
    told = run(runner.config, *words, "--to", str(tmp_path / "out"))
    assert told.exit_code == 1
    named = "not written: 1 extended attributes, the first 'com.apple.provenance' of"
    [line] = [line for line in told.stderr.splitlines() if "attributes" in line]
    assert line.startswith(f"{named} 'etc/mac' (")
    assert line.endswith("take another file system or `--format tar`, which holds them")
    assert (tmp_path / "out/etc/mac").read_bytes() == b"1"
    told = run(
        runner.config, *words, "--format", "tar", "--to", str(tmp_path / "out.tar")
    )
    assert (told.exit_code, told.stderr) == (0, "")
