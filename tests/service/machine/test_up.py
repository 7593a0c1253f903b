"""``cvmfs-webhook up`` as an operator lives with it: started, killed, ended."""

import contextlib
import itertools
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

from tests.support.harness.worker_process import eventually
from webhook.machine.first_start import FQRN, write_first_files
from webhook.machine.supervisor import Child, Errand, Supervisor
from webhook.machine.up import _supervisor as children_of
from workers.care.repository import create_missing_repositories
from workers.config import load_config
from workers.jobqueue.connection import connect
from workers.jobqueue.embedded_server import free_port
from workers.ledger import Ledger
from workers.policy import PolicyFile
from workers.reference import Reference

REFERENCE = "127.0.0.1:5000/atlas/analysis:v1"
# Printed last, so all that an operator needs stands before it.
LAST_WORDS = "The operator's token: "


class Up:
    """``up`` on a state directory, in a process of its own."""

    def __init__(self, state: Path, port: int) -> None:
        self.state = state
        self.url = f"http://127.0.0.1:{port}"
        self.command = [sys.executable, "-m", "webhook.cli", "up"]
        self.command += ["--state", str(state), "--listen", f"127.0.0.1:{port}"]
        self.log = state.with_suffix(".log")

    def __enter__(self) -> Self:
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        eventually(lambda: LAST_WORDS in self.log.read_text()[before:], "it runs")
        eventually(self.is_ready, "it is ready")
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
        eventually(lambda: not self.children(), "its children die with it")

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


# The first start.


def test_the_first_files_are_private_valid_and_allow_nothing(tmp_path: Path) -> None:
    path = write_first_files(tmp_path, "127.0.0.1:8080")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    config = load_config(path, {})
    assert {"dockerhub", "distribution"} <= {
        one.kind for one in config.sources.values()
    }
    assert config.registries["127.0.0.1:5000"].plain_http
    assert config.state == tmp_path
    assert config.queue.url is None
    secrets = {
        secret.reveal()
        for source in config.sources.values()
        for secret in source.secrets
    }
    secrets |= {token.reveal() for token in config.operator.tokens}
    assert all(len(secret) >= 32 for secret in secrets)
    assert len(secrets) == len(config.sources) + 1
    policy = PolicyFile(config.policy)
    decision = policy.current().decide(Reference.parse(REFERENCE))
    assert policy.problem is None
    assert not decision.allowed


def test_a_second_start_leaves_the_operators_files_alone(tmp_path: Path) -> None:
    first = write_first_files(tmp_path, "127.0.0.1:8080").read_text()
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nrules: [{allow: docker.io/atlas/*}]\n")
    assert write_first_files(tmp_path, "127.0.0.1:9090").read_text() == first
    assert "atlas" in policy.read_text()


def test_each_first_start_has_secrets_of_its_own(tmp_path: Path) -> None:
    texts = {
        write_first_files(tmp_path / name, "127.0.0.1:8080").read_text()
        for name in "ab"
    }
    assert len(texts) == 2


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

            eventually(is_replaced, f"{word} is replaced")
            eventually(up.is_ready, "it is ready again")


def test_a_killed_up_leaves_nothing_behind_that_a_new_one_stumbles_over(
    up: Up,
) -> None:
    with up:
        before = up.children()
        up.process.kill()
        up.process.wait()
        with up:
            eventually(lambda: not up.children() & before, "the old ones are gone")


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


# The supervisor by itself.


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


def shell(text: str) -> list[str]:
    return ["/bin/sh", "-c", text]


def test_a_child_that_dies_at_once_is_started_ever_more_slowly() -> None:
    child = Child("brief", lambda: shell("exit 3"))
    starts = []
    now = 1000.0
    for _ in range(600):
        before = child.process
        child.revive(now)
        if child.process is not None and child.process is not before:
            starts.append(now)
            child.process.wait()
            child.started = now
        now += 0.1
    pauses = [round(b - a) for a, b in itertools.pairwise(starts)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 1
    assert pauses[-1] >= 16


def test_a_child_deaf_to_sigterm_is_killed_at_the_deadline(marks: Path) -> None:
    deaf = f"trap '' TERM; touch {marks}/deaf; while :; do sleep 0.05; done"
    child = Child("deaf", lambda: shell(deaf))
    supervisor = Supervisor(None, [child])
    child.start()
    eventually((marks / "deaf").exists, "it is deaf")
    supervisor.end(patience_seconds=0.2)
    assert not child.is_alive


def test_an_errand_is_run_now_and_then_and_never_twice_at_once(marks: Path) -> None:
    text = f"echo x >> {marks}/runs; while [ ! -e {marks}/enough ]; do sleep 0.02; done"
    errand = Errand("errand", lambda: shell(text), every_seconds=7200)

    def runs() -> int:
        path = marks / "runs"
        return path.read_text().count("x") if path.exists() else 0

    errand.look(1000.0)
    errand.look(4599.0)
    assert runs() == 0
    errand.look(4600.0)  # an hour later, so that restarts do not put it off
    eventually(lambda: runs() == 1, "it runs")
    errand.look(4600.0 + 7300.0)
    assert runs() == 1
    (marks / "enough").touch()
    assert errand.process is not None
    errand.process.wait()
    errand.look(4600.0 + 7400.0)
    eventually(lambda: runs() == 2, "it runs again")
    assert errand.process is not None
    errand.process.wait()


def test_an_errand_that_is_under_way_is_ended_with_us(marks: Path) -> None:
    text = f"touch {marks}/begun; while :; do sleep 0.05; done"
    errand = Errand("errand", lambda: shell(text), every_seconds=1)
    errand.look(0.0)
    errand.look(1.0)
    eventually((marks / "begun").exists, "it runs")
    Supervisor(None, errands=[errand]).end()
    assert errand.process is not None
    assert errand.process.returncode == -signal.SIGTERM


def test_the_server_is_ended_after_the_others(marks: Path) -> None:
    def command(name: str) -> list[str]:
        order = marks / "order"
        text = f"trap 'echo {name} >> {order}; exit' TERM; touch {marks}/{name};"
        return shell(f"{text} while :; do sleep 0.05; done")

    server = Child("server", lambda: command("server"))
    other = Child("other", lambda: command("other"))
    supervisor = Supervisor(server, [other])
    for child in (server, other):
        child.start()
        eventually((marks / child.name).exists, f"{child.name} runs")
    supervisor.end()
    assert (marks / "order").read_text().split() == ["other", "server"]
