"""The supervisor: children that die, are deaf, or are told to end."""

import itertools
import signal
from pathlib import Path

import pytest

from tests.support.tools.waiting import wait_until
from webhook.machine.supervisor import Child, Errand, Supervisor


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
    wait_until((marks / "deaf").exists, "it is deaf")
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
    wait_until(lambda: runs() == 1, "it runs")
    errand.look(4600.0 + 7300.0)
    assert runs() == 1
    (marks / "enough").touch()
    assert errand.process is not None
    errand.process.wait()
    errand.look(4600.0 + 7400.0)
    wait_until(lambda: runs() == 2, "it runs again")
    assert errand.process is not None
    errand.process.wait()


def test_an_errand_that_is_under_way_is_ended_with_us(marks: Path) -> None:
    text = f"touch {marks}/begun; while :; do sleep 0.05; done"
    errand = Errand("errand", lambda: shell(text), every_seconds=1)
    errand.look(0.0)
    errand.look(1.0)
    wait_until((marks / "begun").exists, "it runs")
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
        wait_until((marks / child.name).exists, f"{child.name} runs")
    supervisor.end()
    assert (marks / "order").read_text().split() == ["other", "server"]
