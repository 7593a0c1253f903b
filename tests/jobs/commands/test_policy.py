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


def test_thin_images_need_a_place_to_push_them_to(config: Path) -> None:
    repository = "unpacked.example.org: {storage: file:///srv"
    rule = "{allow: a.b/c, formats: [thin]}"
    (config.parent / "policy.yaml").write_text(f"version: 1\nrules: [{rule}]\n")
    config.write_text(f"policy: policy.yaml\nrepositories: {{{repository}}}}}\n")
    (warning,) = json.loads(run(config, "policy", "check", "--json").stdout)["warnings"]
    assert "repositories.unpacked.example.org.thin" in warning
    config.write_text(
        "policy: policy.yaml\n"
        f"repositories: {{{repository}, thin: 'a.b/{{repository}}:{{tag}}-thin'}}}}\n"
    )
    said = json.loads(run(config, "policy", "check", "--json").stdout)
    assert said["warnings"] == []


def test_advice_is_a_warning_and_no_error(config: Path) -> None:
    (config.parent / "policy.yaml").write_text("version: 1\nrules: [{allow: '**'}]\n")
    result = run(
        config, "policy", "check", "--file", str(config.parent / "policy.yaml")
    )
    assert "warning: rule 1 (line 2): allow **: " in result.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"rules: [", "line 1: "),
        (b"\xff", "is not UTF-8 text"),
        (None, "cannot be read: No such file"),
        (b"rules: [{allow: a}, {deny: b}]\nversion: 2\n", "version: must be"),
    ],
)
@pytest.mark.parametrize(
    "words", [("policy", "check"), ("policy", "explain", "a.b/c:1")]
)
def test_what_is_wrong_with_a_policy_names_the_file(
    config: Path, content: bytes | None, told: str, words: tuple[str, ...]
) -> None:
    path = config.parent / "policy.yaml"
    path.unlink() if content is None else path.write_bytes(content)
    result = run(config, *words)
    assert result.exit_code == 2
    assert told in result.stderr
    lines = result.stderr.splitlines()
    assert all(line.startswith(f"error: {path}: ") for line in lines)


def test_a_name_is_said_once(config: Path) -> None:
    result = run(config, "policy", "explain", "x.y/z:1")
    assert result.exit_code == 3
    assert result.output == "refused: x.y/z:1: no rule allows this name\n"
