"""What an operator is told to paste elsewhere."""

import dataclasses
import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from webhook.cli import main
from webhook.machine.first_start import FQRN, write_first_files
from webhook.machine.setup import setup_json, setup_lines
from workers.config import Config, RepositoryConfig, load_config


@pytest.mark.parametrize(
    ("s3", "url"),
    [
        ("region: eu", "https://s3.eu.amazonaws.com/bucket/p"),
        ("region: eu, path_style: false", "https://bucket.s3.eu.amazonaws.com/p"),
        (
            "endpoint: https://bucket.s3.example.org, path_style: false",
            "https://bucket.s3.example.org/p",
        ),
    ],
)
def test_the_url_of_a_bucket_follows_its_style(
    tmp_path: Path, s3: str, url: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"repositories: {{a.b: {{storage: s3://bucket/p, s3: {{{s3}}}}}}}")
    assert f"  CVMFS_SERVER_URL={url}" in setup_lines(load_config(path, {}))


def test_a_repository_of_another_publisher_is_not_served(tmp_path: Path) -> None:
    ours = RepositoryConfig("ours.example.org", tmp_path.as_uri())
    theirs = dataclasses.replace(ours, fqrn="theirs.example.org", publisher="gateway")
    config = Config(repositories={each.fqrn: each for each in (ours, theirs)})
    told = "\n".join(setup_lines(config))
    assert f"Mount {ours.fqrn}: install {ours.keys / ours.fqrn}.pub" in told
    assert theirs.fqrn not in told
    assert list(setup_json(config)["repositories"]) == [ours.fqrn]  # type: ignore[call-overload]


def test_the_command_shows_all_of_it_while_nothing_runs(tmp_path: Path) -> None:
    path = write_first_files(tmp_path, "127.0.0.1:8080")
    config = load_config(path, {})
    shown = CliRunner().invoke(main, ["show-setup", "--config", str(path)])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout == "\n".join(setup_lines(config)) + "\n"
    asked = CliRunner().invoke(main, ["show-setup", "--json", "--config", str(path)])
    said = json.loads(asked.stdout)
    token = config.operator.tokens[0].reveal()
    assert said["operator_token"] == token
    assert said["url"] == "http://127.0.0.1:8080/"
    for name, source in config.sources.items():
        secret = source.secrets[0].reveal()
        assert said["sources"][name]["secret"] == secret
        assert secret in shown.stdout
    assert said["repositories"][FQRN]["public_key"] == f"{tmp_path}/keys/{FQRN}.pub"
    assert not (tmp_path / "queue").exists()


def test_gitlab_and_other_commands_are_told_how_to_find_us(tmp_path: Path) -> None:
    path = write_first_files(tmp_path / "a state", "127.0.0.1:8080")
    config = load_config(path, {})
    lines = setup_lines(config)
    secret = config.sources["gitlab"].secrets[0].reveal()
    assert f"    'headers' => {{ 'Authorization' => ['Bearer {secret}'] }} }}]" in lines
    assert f"        headers: {{Authorization: [Bearer {secret}]}}" in lines
    assert "        url: http://127.0.0.1:8080/hooks/gitlab" in lines
    exported = next(line for line in lines if "CVMFS_WEBHOOK" in line)
    assert shlex.split(exported) == ["export", f"CVMFS_WEBHOOK_CONFIG={path}"]
