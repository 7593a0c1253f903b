"""The queue server that we bring along, and the connection to whichever there is."""

import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.harness.redis_server import Flavour, RedisServer
from tests.support.tools.programs import free_port
from tests.support.tools.waiting import wait_until
from workers.jobqueue.connection import connect_url
from workers.jobqueue.embedded_server import (
    EmbeddedServer,
    QueueServerFailed,
)
from workers.ledger import Delivery, Hint, Ledger, LedgerUnavailable, Verdict, Wanted


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path)
    yield server
    server.close()


def test_the_password_is_random_and_for_our_user_alone(tmp_path: Path) -> None:
    urls = set()
    for name in "ab":
        server = EmbeddedServer(tmp_path / name)
        server.configure()
        urls.add(server.url.partition("@")[0])
        assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
        for file in ("url", "server.conf", "lock"):
            assert stat.S_IMODE((server.folder / file).stat().st_mode) == 0o600
        server.close()
    assert len(urls) == 2


def test_nobody_gets_in_by_a_port_or_without_the_password(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "valkey") as server, server.client() as connection:
        assert connection.config_get("port") == {"port": "0"}
        path = tmp_path / "queue/socket"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with (
            redis.Redis(unix_socket_path=str(path)) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()


def test_its_clients_find_it_again_after_it_was_killed(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "valkey") as server, server.client() as connection:
        url = server.url
        connection.set("kept", "yes")
        server.kill()
        assert (tmp_path / "queue/socket").exists()
        server.start()
        assert server.url == url
        assert connection.get("kept") == b"yes"


def test_a_state_whose_server_listened_at_a_port_is_taken_over(tmp_path: Path) -> None:
    """As versions up to 0.1 left it: their port in ``url``, the same data."""
    folder = tmp_path / "queue"
    folder.mkdir(mode=0o700)
    port = free_port()
    url = f"redis://:the-old-password@127.0.0.1:{port}/0"
    (folder / "url").write_text(f"{url}\n")
    (folder / "server.conf").write_text(
        f"bind 127.0.0.1\nport {port}\nrequirepass the-old-password\ndatabases 1\n"
        "dir .\nappendonly yes\nappendfsync always\nlogfile server.log\n"
    )
    command = EmbeddedServer(tmp_path).command
    with (
        subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL) as old,
        connect_url(url) as connection,
    ):
        connection.set("kept", "yes")
        old.kill()
    with RedisServer(tmp_path, "valkey") as server, server.client() as connection:
        assert connection.get("kept") == b"yes"
        assert server.url.startswith("unix://:the-old-password@/")
        assert str(port) not in (folder / "server.conf").read_text()


def test_the_url_stays_from_start_to_start(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "valkey") as server:
        first = server.url
        with server.client() as connection:
            connection.set("kept", "yes")
        server.stop()
        server.start()
        assert server.url == first
        with server.client() as connection:
            assert connection.get("kept") == b"yes"


def test_no_second_server_works_on_the_same_data(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "valkey"):
        second = EmbeddedServer(tmp_path)
        with pytest.raises(QueueServerFailed, match="another queue server"):
            second.configure(patience_seconds=0.2)


def test_the_lock_is_held_for_as_long_as_the_server_lives(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "valkey") as server:
        assert server._embedded is not None
        # As when the process that started it is killed.
        server._embedded.close()
        second = EmbeddedServer(tmp_path)
        with pytest.raises(QueueServerFailed):
            second.configure(patience_seconds=0.2)
        server.kill()
        second.configure()
        second.close()


def test_a_server_that_does_not_start_says_why(
    tmp_path: Path, embedded: EmbeddedServer
) -> None:
    embedded.configure()
    broken = embedded.folder / "appendonlydir"
    broken.mkdir()
    (broken / "appendonly.aof.manifest").write_text("file nonsense\n")
    process = subprocess.Popen(
        embedded.command, cwd=embedded.folder, stdin=subprocess.DEVNULL
    )
    with pytest.raises(QueueServerFailed, match=r"server\.log"):
        embedded.wait_until_loaded(lambda: process.poll() is None, seconds=30)
    process.wait(30)


def test_a_long_log_is_put_aside(embedded: EmbeddedServer) -> None:
    embedded.folder.mkdir()
    (embedded.folder / "server.log").write_text("x" * 1_100_000)
    embedded.configure()
    assert not (embedded.folder / "server.log").exists()


PUSHERS, PUSHES = 8, 60


@pytest.mark.slow
@pytest.mark.parametrize("flavour", ["redis", "valkey"])
def test_a_burst_cut_off_by_a_kill_loses_nothing_that_was_accepted(
    tmp_path: Path, flavour: Flavour
) -> None:
    with (
        RedisServer(tmp_path, flavour) as server,
        server.client() as connection,
    ):
        ledger = Ledger(connection)
        accepted: list[str] = []

        def push(pusher: int) -> None:
            for i in range(PUSHES):
                reference = f"docker.io/atlas/burst:{pusher}-{i}"
                hint = Hint(None, "hub")
                wanted = Wanted(reference, Verdict.QUEUED, "allowed", hint)
                delivery = Delivery(f"{pusher}-{i}", "hub", 1_800_000_000.0)
                try:
                    ledger.accept(delivery, [wanted])
                except LedgerUnavailable:
                    continue
                accepted.append(reference)

        pushers = [threading.Thread(target=push, args=[i]) for i in range(PUSHERS)]
        for pusher in pushers:
            pusher.start()
        wait_until(lambda: len(accepted) > PUSHES, "the burst is under way")
        server.kill()
        server.start()
        for pusher in pushers:
            pusher.join()
        server.restart()
        assert len(accepted) > PUSHES
        kept = {image.reference for image in ledger.images(0, 10_000).images}
        assert set(accepted) <= kept
        seconds, _ = connection.time()
        later = Ledger(connection, clock=lambda: seconds + 60.0)
        assert set(accepted) <= {job.reference for job in later.owed(set())}
