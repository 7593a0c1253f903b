"""The commands that keep a repository in order, as an operator types them."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.harness.jobs import JobRunner
from tests.support.images.oci import tar_of
from webhook.cli import main
from workers.care.repository import create_repository
from workers.config import load_config
from workers.cvmfs import PutFile
from workers.cvmfs.storage.storage import STATUS, WHITELIST
from workers.wiring import open_repository

FQRN = "unpacked.example.org"


class Operator:
    """Runs commands on one configuration."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "config.yaml"
        self.storage = folder / "cvmfs"
        self.keys = folder / "keys"
        self.config.write_text(
            f"""\
state: .
operator: {{token: a long enough token}}
repositories:
  {FQRN}: {{storage: "{self.storage.as_uri()}", keys: keys, ttl: 60}}
"""
        )
        loaded = load_config(self.config, {})
        create_repository(loaded, FQRN)
        self.repository = open_repository(loaded, FQRN)

    def run(self, verb: str, *arguments: str) -> Result:
        command = ["repository", verb, *arguments, "--config", str(self.config)]
        return CliRunner().invoke(main, command)

    def ask(self, verb: str, *arguments: str) -> Any:
        result = self.run(verb, *arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def publish(self, text: bytes) -> None:
        content = self.repository.sink.put_bytes(text)
        now = self.repository.head().timestamp + 1
        self.repository.commit([PutFile(b"/file", content)], now=now)

    def read(self) -> bytes:
        snapshot = self.repository.read()
        dirent = snapshot.lookup(b"/file")
        assert dirent is not None
        return snapshot.read(dirent)


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


def test_a_revision_is_tagged_kept_and_rolled_back_to(operator: Operator) -> None:
    operator.publish(b"good")
    added = operator.run("tag", FQRN, "--add", "release", "--description", "it works")
    assert added.output == f"{FQRN}: release is revision 2\n"
    for text in (b"bad", b"worse", b"worst"):
        operator.publish(text)
    operator.repository.sink.put_bytes(b"leaked")
    nothing_waits = ("--keep-for", "0s", "--grace", "0s")
    # What was put in this very second is as young as it can be.
    for path in (operator.storage / "data").glob("??/*"):
        os.utime(path, (1, 1))

    plan = operator.ask("gc", FQRN, "--dry-run", *nothing_waits)
    assert plan["deleted"] == {"objects": 0, "bytes": 0}
    leaks = [pile for pile in plan["garbage"] if pile["why"].startswith("of no")]
    assert [(pile["kind"], pile["objects"]) for pile in leaks] == [("files", 1)]

    told = operator.run("gc", FQRN, "--dry-run", *nothing_waits).output
    assert "would be deleted" in told
    assert "deleted 0" not in told
    assert "files of no revision (aborted publishes)" in told
    done = operator.ask("gc", FQRN, *nothing_waits)
    assert done["garbage"] == plan["garbage"]
    assert done["deleted"]["objects"] == sum(p["objects"] for p in done["garbage"])
    assert f"{FQRN}: deleted 0 (0 B)" in operator.run("gc", FQRN).output
    assert "begin again" in operator.run("gc", FQRN, "--grace", "0s").stderr

    rolled = operator.run("rollback", FQRN, "release")
    assert rolled.stdout == f"{FQRN}: revision 6 is release again\n"
    # There is no queue server here, so the records of images are as they were.
    assert "run `cvmfs-webhook ledger rebuild`" in rolled.stderr
    assert operator.read() == b"good"
    tags = operator.ask("tag", FQRN)
    assert [(tag["name"], tag["revision"]) for tag in tags] == [
        ("trunk", 6),
        ("trunk-previous", 5),
        ("release", 2),
    ]
    assert "it works" in operator.run("tag", FQRN).output
    assert operator.run("tag", FQRN, "--remove", "release").exit_code == 0
    assert len(operator.ask("tag", FQRN)) == 2
    assert operator.run("check", FQRN).exit_code == 0


def test_the_plan_names_the_revisions_that_go_before_anything_goes(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        operator.publish(b"%d" % number)
    later = int(time.time()) + 10 * 24 * 3600
    monkeypatch.setattr("workers.care.repository._now", lambda: later)
    for path in (operator.storage / "data").glob("??/*"):
        os.utime(path, (1, 1))
    old = operator.storage / "data" / "txn" / "put-0123-1-0"
    old.write_bytes(b"cut short")
    os.utime(old, (1, 1))
    foreign = old.with_name("chunk.x1y2z3")
    foreign.write_bytes(b"somebody's")
    planned = operator.run("gc", FQRN, "--dry-run").output.splitlines()
    done = operator.run("gc", FQRN).output.splitlines()
    assert done[0] == planned[0].replace("would be deleted", "to be deleted")
    assert done[1:-1] == planned[1:]
    assert "2 revisions kept, 7 given up" in planned[0]
    assert planned[1].startswith("  revision        7 of 20")
    assert planned[4].startswith("  and 4 more, down to 1 of 20")
    assert "  1 (9 B) files in data/txn of writers long dead" in planned
    assert any(line.startswith("  1 (10 B) files in data/txn stay") for line in planned)
    assert done[-1].startswith(f"{FQRN}: deleted ")
    assert not old.exists()
    assert foreign.exists()
    status = json.loads((operator.storage / STATUS).read_bytes())
    expected = time.strftime("%b %e %H:%M:%S UTC %Y", time.gmtime(later))
    assert status["last_gc"].endswith(expected)
    assert operator.run("check", FQRN).exit_code == 0


def test_one_command_takes_out_what_nobody_uses_and_deletes_it(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gc(*words: str) -> str:
        words = ("repository", "gc", FQRN, "--prune", *words)
        result = CliRunner().invoke(main, [*words, "--config", str(runner.config)])
        assert result.exit_code == 0, result.output
        return result.stdout

    old = [tar_of({"motd": b"old" * 1000})]
    runner.registry.push_image("atlas/analysis", "v1", old)
    runner.publish("atlas/analysis:v1")
    runner.registry.push_image("atlas/analysis", "v1", [tar_of({"motd": b"new"})])
    runner.publish("atlas/analysis:v1")
    later = int(time.time()) + 10 * 24 * 3600
    monkeypatch.setattr("workers.care.repository._now", lambda: later)
    for path in (runner.services.config.state / "cvmfs" / "data").glob("??/*"):
        os.utime(path, (1, 1))
    # What was live a moment ago can be restored, for a month.
    assert "0 trees and 0 memories of former images went" in gc()
    planned = gc("--restorable-for", "0s", "--dry-run")
    assert "2 trees and 1 memories of former images would go" in planned
    done = json.loads(gc("--restorable-for", "0s", "--json"))
    assert len(done["pruned"]["unused"]) == 2
    gc("--restorable-for", "0s", "--keep-for", "0s", "--grace", "0s")
    assert runner.file("atlas/analysis:v1", "motd") == b"new"
    done = json.loads(gc("--keep-for", "0s", "--grace", "0s", "--json"))
    assert done["planned"]["objects"] == 0


def test_a_rollback_answers_in_json(operator: Operator) -> None:
    operator.publish(b"good")
    operator.publish(b"bad")
    answer = operator.ask("rollback", FQRN, "2")
    assert answer["revision"] == operator.repository.head().revision == 4
    assert operator.read() == b"good"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("tag", FQRN, "--add", "trunk-mine"), 1, "publishing's own"),
        (("tag", FQRN, "--add", "a b"), 1, "no space"),
        (("tag", FQRN, "--remove", "nothing"), 1, "no tag 'nothing'"),
        (("tag", FQRN, "--add", "a", "--remove", "b"), 2, "not both"),
        (("rollback", FQRN, "nowhere"), 1, "no tag 'nowhere'"),
        (("rollback", FQRN, "77"), 1, "no revision 77"),
        (("gc", FQRN, "--keep", "0"), 2, "--keep"),
        (("gc", FQRN, "--grace", "soon"), 2, "is no time"),
        (("gc", "other.example.org"), 1, "not configured"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    operator: Operator, arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = operator.run(*arguments)
    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_the_whitelist_is_signed_anew(operator: Operator) -> None:
    before = (operator.storage / WHITELIST).read_bytes()
    (operator.storage / WHITELIST).write_bytes(before)
    answer = operator.ask("resign", FQRN)
    whitelist = operator.repository.whitelist()
    assert answer["whitelist_expires"].startswith(f"{whitelist.expires:%Y-%m-%dT%H}")
    assert "holds until" in operator.run("resign", FQRN).output


def test_without_the_master_key_nothing_is_signed(operator: Operator) -> None:
    (operator.keys / f"{FQRN}.masterkey").unlink()
    before = (operator.storage / WHITELIST).read_bytes()
    result = operator.run("resign", FQRN)
    assert result.exit_code == 1
    assert "master key" in result.stderr
    assert (operator.storage / WHITELIST).read_bytes() == before


def test_garbage_is_not_collected_where_a_catalog_is_missing(
    operator: Operator,
) -> None:
    operator.publish(b"good")
    root = operator.repository.head().root_catalog
    name = f"{root}C"
    shutil.move(
        operator.storage / "data" / name[:2] / name[2:], operator.storage / "aside"
    )
    before = sorted((operator.storage / "data").rglob("*"))
    result = operator.run("gc", FQRN)
    assert result.exit_code == 1
    assert sorted((operator.storage / "data").rglob("*")) == before


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
