"""``cvmfs-webhook up`` as an operator lives with it: started, killed, ended."""

import contextlib
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import requests
import yaml

from tests.support.tools.programs import free_port
from tests.support.tools.waiting import wait_until
from webhook.machine.first_start import FQRN, write_first_files
from webhook.machine.up import _supervisor as children_of
from workers.care.repository import create_missing_repositories
from workers.config import load_config
from workers.jobqueue.connection import connect
from workers.ledger import KnownHeads, Ledger

REFERENCE = "127.0.0.1:5000/atlas/analysis:v1"
# Printed last, so all that an operator needs stands before it.
LAST_WORDS = ("The operator's token: ", " show-setup --config ")


class Up:
    """``up`` on a state directory, in a process of its own."""

    def __init__(self, state: Path, port: int, umask: int = -1) -> None:
        self.state = state
        self.umask = umask
        self.url = f"http://127.0.0.1:{port}"
        self.command = [sys.executable, "-m", "webhook.cli", "up"]
        self.command += ["--state", str(state), "--listen", f"127.0.0.1:{port}"]
        self.log = state.with_suffix(".log")

    def __enter__(self) -> Self:
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                umask=self.umask,
            )

        def has_begun() -> bool:
            said = self.log.read_text()[before:]
            return any(words in said for words in LAST_WORDS)

        wait_until(has_begun, "it runs")
        wait_until(self.is_ready, "it is ready")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            sys.stderr.write(self.log.read_text())
        self.process.kill()
        self.process.wait()
        wait_until(lambda: not self.children(), "its children die with it")

    def is_ready(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{self.url}/readyz", timeout=10).ok
        return False

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(30)

    def children(self, word: str = "") -> set[int]:
        """Return the processes whose words name our state, or run in it."""
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().decode()
                where = (process / "cwd").readlink()
                is_ours = f"{self.state}/" in words or self.state in where.parents
                if is_ours and word in words:
                    found.add(int(process.name))
        return found - {self.process.pid}


@pytest.fixture
def up(tmp_path: Path) -> Up:
    return Up(tmp_path / "state", free_port())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One that no test ends."""
    with Up(tmp_path_factory.mktemp("up") / "state", free_port()) as up:
        yield up


# Running.


def test_up_prints_what_to_paste_and_what_it_prints_works(running: Up) -> None:
    printed = running.log.read_text()
    hub = re.search(rf"{running.url}/hooks/hub/\S+", printed)
    assert hub is not None
    push = {"push_data": {"tag": "v1"}, "repository": {"repo_name": "evil/x"}}
    answer = requests.post(hub[0], json=push, timeout=10)
    assert answer.status_code == 200
    (image,) = answer.json()["images"]
    assert image["decision"] == "refused"
    start = printed.index("  notifications:")
    snippet = yaml.safe_load(printed[start : printed.index("\n\n", start)])
    endpoint = snippet["notifications"]["endpoints"][0]
    assert endpoint["url"] == f"{running.url}/hooks/local"
    media_type = "application/vnd.docker.distribution.events.v1+json"
    headers = {
        "Authorization": endpoint["headers"]["Authorization"][0],
        "Content-Type": media_type,
    }
    answer = requests.post(
        endpoint["url"], data='{"events": []}', headers=headers, timeout=10
    )
    assert answer.status_code == 200
    assert f"CVMFS_SERVER_URL={running.url}/cvmfs/@fqrn@" in printed
    assert str(running.state / "keys" / f"{FQRN}.pub") in printed
    assert (running.state / "keys" / f"{FQRN}.pub").exists()
    published = requests.get(f"{running.url}/cvmfs/{FQRN}/.cvmfspublished", timeout=10)
    assert published.ok


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_secrets_are_for_us_alone_and_the_repository_for_everybody(
    tmp_path: Path, umask: int
) -> None:
    with Up(tmp_path / "state", free_port(), umask) as up:
        state, storage = up.state, up.state / "cvmfs"
        for path in (state, *state.rglob("*")):
            status = path.lstat()
            kind, mode = stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode)
            is_public = storage in (path, *path.parents) and path.name != "publish.lock"
            if path == state / "keys":
                assert mode == 0o755, path
            elif path.suffix in {".pub", ".crt"}:
                assert mode == 0o444, path
            elif kind == stat.S_IFDIR:
                assert mode == (0o755 if is_public else 0o700), path
            elif is_public:
                assert mode == 0o644, path
            else:
                assert mode & 0o177 == 0, path
        asked = [*up.command[:3], "show-setup", "--config", f"{state}/config.yaml"]
        shown = subprocess.run(asked, check=True, capture_output=True, text=True)
        assert shown.stdout in up.log.read_text()
        first = len(up.log.read_text())
        assert up.end() == 0
        with up:
            later = up.log.read_text()[first:]
        token = shown.stdout.rpartition(" ")[2].strip()
        assert len(token) > 20
        assert token not in later
        assert f" show-setup --config {state}/config.yaml" in later


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_up_ends_cleanly_and_keeps_what_was_accepted(
    up: Up, how: signal.Signals
) -> None:
    with up:
        config = load_config(up.state / "config.yaml", {})
        with connect(config) as connection:
            Ledger(connection).request(REFERENCE, source="test")
        assert up.end(how) == 0
        assert up.children() == set()
        assert "kept" in up.log.read_text()
        with up, connect(config) as connection:
            image = Ledger(connection).image(REFERENCE)
            assert image is not None
            assert image.requested == 1


def test_a_child_that_dies_is_started_again(up: Up) -> None:
    with up:
        for word in ("worker", "serve", "valkey"):
            before = up.children(word)
            assert before, word
            for process in before:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)

            def is_replaced(word: str = word, before: set[int] = before) -> bool:
                now = up.children(word)
                return bool(now) and not now & before

            wait_until(is_replaced, f"{word} is replaced")
            wait_until(up.is_ready, "it is ready again")


def test_a_queue_server_that_dies_takes_nobody_along(up: Up) -> None:
    with up:
        (server,) = up.children("valkey")
        others = up.children() - {server}
        os.kill(server, signal.SIGKILL)
        with connect(load_config(up.state / "config.yaml", {})) as connection:
            Ledger(connection).request(REFERENCE, source="test")

        def is_answered() -> bool:
            image = Ledger(connection).image(REFERENCE)
            return image is not None and not image.is_owed

        wait_until(is_answered, "a worker has looked at it")
        assert others <= up.children()


def test_a_killed_up_leaves_nothing_behind_that_a_new_one_stumbles_over(
    up: Up,
) -> None:
    with up:
        before = up.children()
        up.process.kill()
        up.process.wait()
        with up:
            wait_until(lambda: not up.children() & before, "the old ones are gone")


def test_a_second_up_on_the_same_state_is_refused_in_one_line(running: Up) -> None:
    second = Up(running.state, free_port())
    ended = subprocess.run(second.command, check=False, capture_output=True)
    assert ended.returncode == 4
    (line,) = ended.stderr.decode().splitlines()
    assert str(running.state) in line
    assert running.is_ready()


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        up = Up(tmp_path / "state", taken.getsockname()[1])
        ended = subprocess.run(up.command, check=False, capture_output=True)
    assert ended.returncode == 4
    (line,) = ended.stderr.decode().splitlines()
    assert "--listen" in line
    assert "make up LISTEN=" in line
    assert str(tmp_path / "state" / "config.yaml") in line


def test_a_storage_that_is_not_mounted_is_not_begun_anew(up: Up) -> None:
    with up:
        with connect(load_config(up.state / "config.yaml", {})) as connection:
            KnownHeads(connection).note(FQRN, 1, "root")
        assert up.end() == 0
    storage, keys = up.state / "cvmfs" / FQRN, up.state / "keys"
    storage.rename(up.state / "aside")
    storage.mkdir()
    for who in ("has keys of it", "the ledger knows"):
        done = subprocess.run(up.command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        [error] = done.stderr.splitlines()
        assert error.startswith(f"error: {FQRN}: ")
        assert "whether the disk is mounted" in error
        assert who in error or keys.exists()
        assert list(storage.iterdir()) == []
        if keys.exists():
            keys.rename(up.state / "other")
    assert not keys.exists()
    (up.state / "other").rename(keys)
    storage.rmdir()
    (up.state / "aside").rename(storage)
    with up:
        assert up.end() == 0


def test_garbage_is_collected_where_the_configuration_says_how_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_first_files(tmp_path, "127.0.0.1:8080")
    assert children_of(load_config(path, {}), path).errands == []
    path.write_text(path.read_text() + "    collect: {every: 1d, keep_for: 2d}\n")
    config = load_config(path, {})
    [errand] = children_of(config, path).errands
    assert errand.every_seconds == 86_400
    create_missing_repositories(config)
    done = subprocess.run(errand.command(), check=True, capture_output=True, text=True)
    assert f"{FQRN}: 0 trees and 0 memories of former images went" in done.stdout
    assert f"--keep-for {2 * 86_400}s" in " ".join(errand.command())
