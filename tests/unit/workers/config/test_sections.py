"""What holds when nothing is said."""

import dataclasses
from pathlib import Path

import pytest

from tests.support.harness.configuration import load
from tests.support.harness.documented_settings import settings
from workers.config import Config, Limits, QueueConfig


@pytest.mark.parametrize("text", ["", "# nothing\n", "sources:\nregistries:\n"])
def test_nothing_said_means_the_defaults(tmp_path: Path, text: str) -> None:
    config = load(tmp_path, text)
    assert config == dataclasses.replace(
        Config(), path=tmp_path / "config.yaml", policy=tmp_path / "policy.yaml"
    )


def test_the_documented_defaults_are_the_real_ones() -> None:
    written = {setting.key: setting.default for setting in settings()}
    config = Config()
    assert written["listen"] == config.listen
    assert written["state"] == str(config.state)
    assert written["policy"] == str(config.policy)
    assert written["workers"] == str(config.workers)
    assert written["log_level"].upper() == config.log_level
    assert written["queue.durability"] == QueueConfig().durability
    for limit in dataclasses.fields(Limits):
        assert written[f"limits.{limit.name}"] == str(getattr(Limits(), limit.name))
