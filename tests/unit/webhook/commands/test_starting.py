"""What each long-running part says when it starts, and `publish` when it is asked."""

from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support.harness.ledger import D1
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import HOOK_POLICY, write_config
from webhook.cli import main
from webhook.commands.starting import say_start
from workers.config import load_config
from workers.jobqueue.worker import ImageWorker
from workers.ledger import Ledger

NAME = "registry.example/team/web:1"
PASSWORD = "hunter2"
MORE = """\
public_url: https://hooks.example.org
repositories: {unpacked.example.org: {storage: "file:///srv/cvmfs"}}
"""
WATCHING = HOOK_POLICY.replace("team/**", "team/**\n    watch: {every: 1m}")


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    settings = ("--requirepass", PASSWORD)
    folder = tmp_path_factory.mktemp("redis")
    with RedisServer(folder, "redis", *settings, password=PASSWORD) as running:
        yield running


@pytest.fixture
def path(tmp_path: Path, redis_server: RedisServer) -> Path:
    return write_config(tmp_path, redis_server, MORE)


@pytest.fixture
def said(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[str, str]]:
    """Return the line of a part that starts, and what it warns of."""

    def start(part: str) -> tuple[str, str]:
        say_start(part, load_config(path, {}))
        first, _, rest = capsys.readouterr().err.partition("\n")
        return first, rest

    return start


def publish(path: Path, *words: str) -> Result:
    words = ("publish", NAME, *words, "--config", str(path))
    return CliRunner().invoke(main, words)


@pytest.mark.parametrize("part", ["serve", "worker", "reconcile"])
def test_a_part_says_in_one_line_what_it_starts_with(
    said: Callable[[str], tuple[str, str]], path: Path, part: str
) -> None:
    line, wrong = said(part)
    for fact in (
        version("cvmfs-webhook"),
        part,
        str(path),
        "https://hooks.example.org",
        "redis://:***@127.0.0.1",
        "unpacked.example.org",
    ):
        assert fact in line
    assert ("listens at 127.0.0.1:8080" in line) == (part == "serve")
    assert PASSWORD not in line
    assert wrong == ""


def test_what_would_be_lost_is_said_at_the_start_and_by_publish(
    said: Callable[[str], tuple[str, str]], path: Path, redis_server: RedisServer
) -> None:
    with redis_server.client() as connection:
        connection.config_set("appendonly", "no")
        assert "appendonly" in said("worker")[1]
        done = publish(path)
        assert done.exit_code == 4
        assert "appendonly" in done.stderr
        assert Ledger(connection).image(NAME) is None


@pytest.mark.parametrize("wrong", ["", ":mistaken@"])
def test_a_password_that_is_wrong_or_missing_is_said(
    said: Callable[[str], tuple[str, str]], path: Path, wrong: str
) -> None:
    path.write_text(path.read_text().replace(f":{PASSWORD}@", wrong))
    line, warning = said("serve")
    assert "mistaken" not in line
    assert "password" in warning
    assert "queue.url" in warning
    done = publish(path)
    assert done.exit_code == 4
    assert "password" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_redis_that_is_not_there_is_said(
    said: Callable[[str], tuple[str, str]], redis_server: RedisServer
) -> None:
    redis_server.kill()
    assert "does not answer" in said("reconcile")[1]


def test_without_a_worker_publish_says_so_and_what_was_asked_for_is_kept(
    path: Path, redis_server: RedisServer
) -> None:
    done = publish(path)
    assert done.exit_code == 4
    assert done.stdout == f"queued: {NAME}\n"
    assert "cvmfs-webhook worker" in done.stderr
    with redis_server.client() as connection:
        ledger = Ledger(connection)
        assert ledger.image(NAME)
        born = ImageWorker(connection, ledger=ledger, memory_mib=1024)
        born.register_birth()  # type: ignore[no-untyped-call] # RQ's
    done = publish(path)
    assert done.exit_code == 0
    assert done.stderr == ""


def test_publish_waits_for_no_worker_that_is_not_alive(
    path: Path, redis_server: RedisServer
) -> None:
    with redis_server.client() as connection:
        past = Ledger(connection, clock=lambda: 1_000_000_000.0)
        past.request("registry.example/team/web:0", source="operator")
    done = publish(path, "--wait")
    assert done.exit_code == 4
    assert "kept" in done.stderr


def test_who_is_missed_is_said_but_not_by_itself(
    said: Callable[[str], tuple[str, str]], path: Path, redis_server: RedisServer
) -> None:
    (path.parent / "policy.yaml").write_text(WATCHING)
    with redis_server.client() as connection:
        past = Ledger(connection, clock=lambda: 1_000_000_000.0)
        past.request(f"{NAME.partition(':')[0]}@{D1}", source="operator")
    worker, reconciler = "cvmfs-webhook worker", "cvmfs-webhook reconcile"
    for part, missed in (
        ("serve", {worker, reconciler}),
        ("worker", {reconciler}),
        ("reconcile", {worker}),
    ):
        wrong = said(part)[1]
        assert {each for each in (worker, reconciler) if each in wrong} == missed
