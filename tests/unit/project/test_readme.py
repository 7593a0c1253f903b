"""The README is true: what can be set and done is in it."""

from pathlib import Path

import click
import pytest

from tests.support.harness.documented_settings import Setting, settings
from webhook.cli import main

README = (Path(__file__).parents[3] / "README.md").read_text()


@pytest.mark.parametrize("setting", settings(), ids=lambda setting: str(setting.key))
def test_every_setting_is_in_the_readme_as_the_schema_has_it(setting: Setting) -> None:
    assert f"| `{setting.key}` |" in README
    assert f"| {setting.meaning} |" in README


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_is_in_the_readme(name: str) -> None:
    command = main.commands[name]
    assert f"`{name}" in README
    if isinstance(command, click.Group):
        for verb in command.commands:
            assert verb in README
