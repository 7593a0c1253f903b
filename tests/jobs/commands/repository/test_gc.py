"""``repository gc``: what it would delete, what it deletes, and when it refuses."""

import json
import os
import shutil
import time

import pytest
from click.testing import CliRunner

from tests.support.harness.jobs import JobRunner
from tests.support.harness.operator import FQRN, Operator
from tests.support.images.oci import tar_of
from webhook.cli import main
from workers.cvmfs.storage.storage import STATUS


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
