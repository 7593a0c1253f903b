"""Secrets stay secret, and addresses are made of what was said."""

import logging
from pathlib import Path

import pytest

from tests.support.harness.configuration import load, problems
from workers.config import Config, Secret


def source(extra: str, kind: str = "distribution", registry: str = "r.example") -> str:
    return f"sources: {{a: {{kind: {kind}, registry: {registry}, {extra}}}}}"


def test_what_the_environment_says_is_not_expanded_again(tmp_path: Path) -> None:
    config = load(tmp_path, source('secret: "x${A}y"'), A="${B}-long")
    assert config.sources["a"].secrets == (Secret("x${B}-longy"),)


def test_a_secret_shows_itself_nowhere(contract: Config) -> None:
    secret = contract.sources["hub"].secrets[0]
    record = logging.LogRecord("x", 20, "x", 1, "%s %r", (secret, contract), None)
    shown = f"{secret} {secret!r} {secret:>40} {contract} {record.getMessage()}"
    for hidden in ("from-the-environment", "from-a-file", "s3cret", "hub-password"):
        assert hidden not in shown
    assert secret.reveal() == "from-the-environment"
    assert len({secret, Secret("from-the-environment")}) == 1
    assert secret != "from-the-environment"


@pytest.mark.parametrize(
    "text",
    [
        source("secret: [[hunter2]]"),
        source("secret: {hunter2: hunter2}"),
        source("secret: [hunter2, hunter2, hunter2]"),
        source("secret: 'hunter2 '"),
        source("secret: hunter2/", "dockerhub", "docker.io"),
        "queue: {url: 'hunter2://'}",
        "queue: {url: 'redis://:hunter2/more@h:1'}",
        "queue: {url: 'unix://:hunter2@host/path'}",
        "operator: {token: ['hunter2 ']}",
        "registries: {a.b: {password: [hunter2]}}",
    ],
)
def test_no_error_contains_a_secret(tmp_path: Path, text: str) -> None:
    assert "hunter2" not in str(problems(tmp_path, text))


def test_public_url_follows_listen_and_loses_its_slash(tmp_path: Path) -> None:
    assert load(tmp_path, "listen: '[::1]:81'").public_url == "http://[::1]:81"
    assert load(tmp_path, "public_url: https://a.b/c/").public_url == "https://a.b/c"
