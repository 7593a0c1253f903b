"""What ``up`` starts, and what it says to whoever started it."""

import dataclasses
from pathlib import Path

import pytest

from webhook.machine.first_start import write_first_files
from webhook.machine.up import _supervisor as children_of
from webhook.machine.up import up, welcome
from workers.config import (
    CollectConfig,
    Config,
    ConfigError,
    RepositoryConfig,
    load_config,
)


def test_secrets_are_printed_at_the_first_start_only(tmp_path: Path) -> None:
    config = load_config(write_first_files(tmp_path, "127.0.0.1:8080"), {})
    secrets = [secret for each in config.sources.values() for secret in each.secrets]
    secrets += config.operator.tokens
    first = welcome(config, is_first=True)
    later = welcome(config, is_first=False)
    for secret in secrets:
        assert secret.reveal() in first
        assert secret.reveal() not in later
    assert f"cvmfs-webhook show-setup --config {tmp_path}/config.yaml" in later
    assert "http://127.0.0.1:8080/" in later


def test_a_repository_of_another_publisher_is_not_collected(
    tmp_path: Path,
) -> None:
    ours = RepositoryConfig(
        "ours.example.org", "file:///srv/ours", collect=CollectConfig(3600)
    )
    theirs = dataclasses.replace(ours, fqrn="theirs.example.org", publisher="gateway")
    config = Config(repositories={each.fqrn: each for each in (ours, theirs)})
    [errand] = children_of(config, tmp_path / "config.yaml").errands
    assert errand.name == f"garbage collection of {ours.fqrn}"
    assert ours.fqrn in errand.command()


def test_another_state_than_the_configuration_has_is_refused_naming_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CVMFS_WEBHOOK_CONFIG", raising=False)
    path, other = write_first_files(tmp_path / "one", "127.0.0.1:8080"), tmp_path / "b"
    with pytest.raises(ConfigError, match=rf"{path}: .*/one,.*{other}") as caught:
        up(
            config_path=path,
            state=other,
            listen=None,
            prepare=lambda _config: None,
            chore=lambda _config: None,
        )
    assert "--state" in str(caught.value)
    assert not other.exists()
