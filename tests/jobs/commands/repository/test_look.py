"""The commands that only look into a repository."""

import os
import re
import subprocess
import sys
import time

import pytest

from tests.support.harness.operator import FQRN, Operator
from webhook.commands.progress_line import ProgressLine


def test_paths_may_be_written_as_on_a_mount(operator: Operator) -> None:
    operator.publish(b"content")
    for path in ("file", "/file", f"/cvmfs/{FQRN}/file", f"cvmfs/{FQRN}/x/..//file"):
        assert operator.run("cat", FQRN, path).stdout == "content"
    for path in ("", "/", f"/cvmfs/{FQRN}", f"/cvmfs/{FQRN}/"):
        assert [entry["name"] for entry in operator.ask("ls", FQRN, path)] == ["file"]
    result = operator.run("cat", FQRN, "/cvmfs/other.example.org/file")
    assert result.exit_code == 1
    assert f"is no path of {FQRN}" in result.stderr


def test_info_tells_of_the_last_collection(operator: Operator) -> None:
    assert operator.ask("info", FQRN)["last_gc"] == "never"
    operator.run("gc", FQRN)
    facts = operator.ask("info", FQRN)
    assert str(time.gmtime().tm_year) in facts["last_gc"]
    assert facts["tags"] == 1


def test_errors_of_the_system_name_the_file(operator: Operator) -> None:
    (operator.keys / f"{FQRN}.pub").unlink()
    (operator.keys / f"{FQRN}.pub").mkdir()
    result = operator.run("info", FQRN)
    assert result.exit_code == 1
    assert f"{FQRN}.pub" in result.stderr
    assert "Errno" not in result.stderr


def test_whoever_has_seen_enough_of_a_file_is_told_nothing(operator: Operator) -> None:
    operator.publish(os.urandom(4 << 20))
    words = [sys.executable, "-m", "webhook.cli", "repository", "cat", FQRN, "file"]
    process = subprocess.Popen(
        [*words, "--config", str(operator.config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert len(process.stdout.read(10)) == 10
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 1


def test_a_check_counts_the_catalogs_of_all(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.publish(b"content")
    shown: list[str] = []
    monkeypatch.setattr(ProgressLine, "show", lambda _, text: shown.append(text))
    assert operator.run("check", FQRN).exit_code == 0
    catalogs = operator.ask("check", FQRN)["catalogs"]
    assert shown[-1].startswith(f"{catalogs} of {catalogs} catalogs, ")
    (operator.keys / f"{FQRN}.key").unlink()  # a mirror has the public half alone
    shown.clear()
    assert operator.run("check", FQRN).exit_code == 0
    assert shown[-1].startswith(f"{catalogs} catalogs, ")


def test_keys_that_never_were_are_not_made_yet(operator: Operator) -> None:
    operator.keys.rename(operator.keys.with_name("aside"))
    lost = operator.run("info", FQRN)
    assert "restore the files" in lost.stderr
    operator.storage.rename(operator.storage.with_name("elsewhere"))
    for verb in (["info"], ["check"], ["ls"], ["resign"], ["gc"], ["tag"]):
        result = operator.run(*verb, FQRN)
        assert result.exit_code == 1
        assert "not made yet" in result.stderr
        assert f"run `cvmfs-webhook repository init {FQRN}`" in result.stderr


def test_what_the_storage_refuses_names_its_path_and_the_repository(
    operator: Operator,
) -> None:
    manifest = operator.storage / ".cvmfspublished"
    manifest.unlink()
    manifest.mkdir()
    (error,) = operator.run("info", FQRN).stderr.splitlines()
    assert error.startswith(f"error: {FQRN}: ")
    assert str(operator.storage) in error


def test_times_of_files_have_a_zone(operator: Operator) -> None:
    operator.publish(b"content")
    (line,) = operator.run("ls", FQRN).stdout.splitlines()
    assert re.search(r" \d\d:\d\d:\d\d [+-]\d{4} file$", line)
