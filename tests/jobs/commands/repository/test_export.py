"""``repository export`` as operators meet it, and what ``policy check`` says of it."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

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
