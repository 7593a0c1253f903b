"""What ``policy check`` says beside errors."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from webhook.cli import main


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("policy: policy.yaml\n")
    rule = "{allow: a.b/c, formats: [image]}"
    (tmp_path / "policy.yaml").write_text(f"version: 1\nrules: [{rule}]\n")
    return path


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--config", str(config)])


def test_a_policy_that_wants_squashfs_files_needs_the_program(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = json.loads(run(config, "policy", "check", "--json").stdout)
    assert [line for line in said["warnings"] if "squashfs-tools" in line]
    program = tmp_path / "mksquashfs"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    said = json.loads(run(config, "policy", "check", "--json").stdout)
    assert said["warnings"] == []
