"""Native commits to a repository that ``cvmfs_server mkfs`` made, and back again."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer

import pytest

from tests.support.repositories.stock_repository import FQRN, StockRepository
from tests.support.tools.cvmfs_server import stock_server
from workers.cvmfs import (
    PutFile,
    RepositoryBusy,
    Retention,
    add_tag,
    collect_garbage,
    remove_tag,
    roll_back,
)


@pytest.fixture
def adopted(tmp_path: Path) -> Iterator[StockRepository]:
    with stock_server(tmp_path / "machine") as server:
        server.mkfs(FQRN, "-z", "-g")
        yield StockRepository(server)


def test_both_publish_in_turns_and_nothing_of_either_is_lost(
    adopted: StockRepository,
) -> None:
    server = adopted.server
    for number in range(3):
        adopted.publish(b"native-%d" % number)
        server.check(FQRN)
        server.publish(FQRN, f"mkdir stock-{number}; echo x > stock-{number}/file")
        server.check(FQRN)
    server.server("tag", "-a", "by-stock", FQRN)
    keys = adopted.keys()
    now = int(time.time())
    add_tag(FQRN, adopted.storage(), keys, "by-us", now=now)
    assert "by-us" in server.server("tag", "-l", FQRN)
    assert {"by-us", "by-stock"} <= {tag.name for tag in adopted.repository().tags()}
    for number in range(3):
        assert adopted.has(f"/.flat/ab/native-{number}/hello")
        assert adopted.has(f"/stock-{number}/file")
        server.shell(f"test -e /cvmfs/{FQRN}/stock-{number}/file")
    server.publish(FQRN, "test -e .flat/ab/native-2/hello")
    server.check(FQRN)


def test_rollback_collection_and_resigning_work_in_turns(
    adopted: StockRepository,
) -> None:
    server, keys = adopted.server, adopted.keys()
    now = int(time.time())
    adopted.publish(b"first")
    add_tag(FQRN, adopted.storage(), keys, "good", now=now)
    server.publish(FQRN, "echo bad > bad")
    roll_back(FQRN, adopted.storage(), keys, "good", now=now)
    server.check(FQRN)
    assert not adopted.has("/bad")
    server.publish(FQRN, "echo better > better")
    server.server("rollback", "-f", "-t", "good", FQRN)
    assert not adopted.has("/better")
    remove_tag(FQRN, adopted.storage(), keys, "good", now=now)
    server.server("gc", "-f", "-r", "0", FQRN)
    adopted.publish(b"second")
    done = collect_garbage(
        FQRN,
        adopted.storage(),
        keys,
        now=int(time.time()) + 1,
        retention=Retention(newest=1, seconds=-1, grace_seconds=0),
    )
    assert done.deleted.objects > 0
    server.check(FQRN)
    adopted.repository().renew_whitelist(now=now)
    server.server("resign", FQRN)
    server.publish(FQRN, "test -e .flat/ab/second/hello; echo last > last")
    server.check(FQRN)
    assert adopted.has("/last")


def test_an_open_stock_transaction_is_waited_for_and_then_named(
    adopted: StockRepository,
) -> None:
    server = adopted.server
    server.server("transaction", FQRN)
    with pytest.raises(RepositoryBusy) as caught:
        adopted.publish(b"early", patience_seconds=0.2)
    assert str(server.spool(FQRN) / "in_transaction.lock") in str(caught.value)
    assert f"`cvmfs_server abort {FQRN}`" in str(caught.value)
    server.shell(f"echo stock > /cvmfs/{FQRN}/stock")
    publishing = subprocess.Popen(
        server.command("sh", "-c", f"sleep 0.3; cvmfs_server publish {FQRN}"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    adopted.publish(b"later", patience_seconds=60)
    assert publishing.wait(60) == 0
    assert adopted.has("/stock")
    assert adopted.has("/.flat/ab/later")
    server.check(FQRN)


@pytest.mark.parametrize(
    "command",
    [
        ("transaction",),
        ("transaction", "-t", "1"),
        ("publish",),
        ("abort", "-f"),
        ("tag", "-a", "name"),
        ("gc", "-f"),
        ("rollback", "-f"),
    ],
    ids=" ".join,
)
def test_a_stock_command_during_a_native_commit_fails_and_harms_nothing(
    adopted: StockRepository, command: tuple[str, ...]
) -> None:
    server = adopted.server
    repository = adopted.repository()
    content = repository.sink.put_bytes(b"content")
    said = []

    def meanwhile() -> None:
        done = server.run("cvmfs_server", *command, FQRN)
        said.append(done.stdout)
        assert done.returncode != 0, done.stdout

    repository.commit(
        [PutFile(b"/native", content, 0o644)], now=int(time.time()), check=meanwhile
    )
    assert len(said) == 1
    assert not list(server.spool(FQRN).glob("*.lock"))
    server.publish(FQRN, "test -e native; echo stock > stock")
    server.check(FQRN)
    assert adopted.has("/native")
    assert adopted.has("/stock")


HOOK = """\
transaction_before_hook() {
  echo waiting > /srv/waiting
  read line < /srv/go
}
"""


@pytest.fixture
def hooked(adopted: StockRepository) -> StockRepository:
    """Let each transaction read the head and then wait for a line in ``srv/go``."""
    srv = adopted.server.folder / "srv"
    for name in ("waiting", "go"):
        adopted.server.do("mkfifo", f"/srv/{name}")
    (adopted.server.folder / "etc" / "cvmfs_server_hooks.sh").write_text(HOOK)
    assert (srv / "waiting").exists()
    return adopted


@pytest.fixture
def opening(hooked: StockRepository) -> Iterator[Callable[[], "subprocess.Popen[str]"]]:
    """Begin a transaction, and return when it has read the head and waits."""
    server = hooked.server
    started: list[subprocess.Popen[str]] = []

    def begin() -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            server.command("cvmfs_server", "transaction", FQRN),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        (server.folder / "srv" / "waiting").read_text()
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            let_go(hooked)
        process.communicate(timeout=60)


def let_go(adopted: StockRepository) -> None:
    (adopted.server.folder / "srv" / "go").write_text("go\n")


def test_a_commit_gives_way_to_a_transaction_that_has_read_the_head(
    hooked: StockRepository, opening: Callable[[], "subprocess.Popen[str]"]
) -> None:
    process = opening()
    with pytest.raises(RepositoryBusy, match="is opening a transaction"):
        hooked.publish(b"early")
    let_go(hooked)
    assert process.wait(60) == 0
    hooked.server.shell(f"echo stock > /cvmfs/{FQRN}/stock")
    hooked.server.server("publish", FQRN)
    hooked.publish(b"later")
    assert hooked.has("/stock")
    hooked.server.check(FQRN)


def test_a_transaction_that_read_the_head_before_a_commit_cannot_open_after_it(
    hooked: StockRepository, opening: Callable[[], "subprocess.Popen[str]"]
) -> None:
    repository = hooked.repository(patience_seconds=60)
    content = repository.sink.put_bytes(b"content")
    begun: list[subprocess.Popen[str]] = []

    def meanwhile() -> None:
        begun.append(opening())
        # After the head has changed: the commit returns only when that is over.
        Timer(1, let_go, [hooked]).start()

    repository.commit(
        [PutFile(b"/native", content, 0o644)], now=int(time.time()), check=meanwhile
    )
    assert begun[0].wait(60) != 0
    (hooked.server.folder / "etc" / "cvmfs_server_hooks.sh").unlink()
    hooked.server.publish(FQRN, "test -e native; echo stock > stock")
    assert hooked.has("/native")
    hooked.server.check(FQRN)
