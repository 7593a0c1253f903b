"""The flags of the stock tools are set, respected and cleared away."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import (
    FQRN,
)
from workers.cvmfs import LocalStorage
from workers.cvmfs.errors import RepositoryBusy
from workers.cvmfs.storage.shared_with_stock import StockStorage
from workers.cvmfs.storage.stock_lock import processes_opening
from workers.cvmfs.storage.storage import MANIFEST, REFLOG

HOLD = """
import sys
from pathlib import Path
from workers.cvmfs import LocalStorage
from workers.cvmfs.storage.shared_with_stock import StockStorage
base, spool, fqrn = sys.argv[1:]
with StockStorage(LocalStorage(Path(base)), Path(spool), fqrn).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def storage(tmp_path: Path, spool: Path) -> StockStorage:
    inner = LocalStorage(tmp_path / "base")
    inner.prepare()
    return StockStorage(inner, spool, FQRN, patience_seconds=0)


@pytest.fixture
def flag(spool: Path) -> Path:
    return spool / "in_transaction.lock"


def take(storage: StockStorage) -> None:
    with storage.lock():
        pass


def test_while_the_lock_is_held_the_stock_tools_see_theirs_and_then_nothing(
    storage: StockStorage, spool: Path, flag: Path
) -> None:
    publishing = spool / "is_publishing.lock"
    with storage.lock():
        assert flag.is_file()
        assert not flag.is_symlink()
        assert flag.read_bytes().startswith(b"cvmfs-webhook process %d " % os.getpid())
        refused = subprocess.run(["flock", "-n", publishing, "true"], check=False)
        assert refused.returncode == 1
    assert [path.name for path in spool.iterdir() if path.is_file()] == []


def test_an_open_transaction_is_named_with_its_mend_and_left_alone(
    storage: StockStorage, flag: Path
) -> None:
    flag.touch()
    with pytest.raises(RepositoryBusy) as caught:
        take(storage)
    said = str(caught.value)
    assert said.startswith(f"{flag}: a transaction is open since 20")
    assert f"`cvmfs_server publish {FQRN}` or `cvmfs_server abort {FQRN}`" in said
    assert "\n" not in said
    assert flag.read_bytes() == b""


def test_our_own_lock_is_free_while_a_stock_transaction_is_waited_for(
    storage: StockStorage, flag: Path
) -> None:
    flag.touch()
    with storage.inner.lock(), pytest.raises(RepositoryBusy, match="a transaction"):
        take(storage)


def test_a_publish_that_is_going_on_is_named(
    storage: StockStorage, spool: Path
) -> None:
    path = spool / "is_publishing.lock"
    with subprocess.Popen(
        ["flock", path, "sh", "-c", "echo held; cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as publishing:
        assert publishing.stdout is not None
        assert publishing.stdout.readline() == b"held\n"
        with pytest.raises(RepositoryBusy, match="is publishing"):
            take(storage)
        assert path.exists()
        publishing.communicate()
    take(storage)


@pytest.mark.slow
def test_the_flag_of_a_killed_holder_is_taken_away_by_the_next(
    storage: StockStorage, spool: Path, flag: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "base"), str(spool), FQRN]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RepositoryBusy, match="another commit"):
            take(storage)
        holder.send_signal(signal.SIGKILL)
    assert flag.exists()
    take(storage)
    assert [path.name for path in spool.iterdir() if path.is_file()] == []


def test_a_flag_that_says_it_is_ours_but_is_a_link_is_left_alone(
    storage: StockStorage, flag: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"cvmfs-webhook was here")
    flag.symlink_to(other)
    with pytest.raises(RepositoryBusy):
        take(storage)
    assert flag.is_symlink()


@pytest.mark.parametrize("path", [REFLOG, MANIFEST])
def test_who_sets_the_flag_meanwhile_keeps_it_and_nothing_is_published(
    storage: StockStorage, flag: Path, path: str
) -> None:
    # As the stock tools do it, who do not mind that it is there already.
    with storage.lock():
        storage.inner.replace(path, b"old")
        subprocess.run(["touch", flag], check=True)
        with pytest.raises(RepositoryBusy, match="a transaction is open"):
            storage.replace(path, b"new")
    assert storage.get(path) == b"old"
    assert flag.read_bytes() == b""
    with pytest.raises(RepositoryBusy):
        take(storage)


def test_who_sets_the_flag_after_the_manifest_keeps_it_too(
    storage: StockStorage, flag: Path
) -> None:
    with storage.lock():
        storage.replace(MANIFEST, b"new")
        with flag.open("r+b"):
            pass
    assert flag.read_bytes() == b""


def test_a_flag_that_somebody_put_in_place_of_ours_stays(
    storage: StockStorage, flag: Path
) -> None:
    with storage.lock():
        flag.unlink()
        flag.touch()
    assert flag.read_bytes() == b""
    flag.unlink()
    with storage.lock():
        flag.unlink()
    assert not flag.exists()


Opening = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def opening() -> Iterator[Opening]:
    """Start a process whose command line is that of ``cvmfs_publish``."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str, name: str = "cvmfs_publish") -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [name, "-c", "print(flush=True); input()", *words],
            executable=sys.executable,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.communicate(b"\n")


def test_processes_that_open_a_transaction_are_found(opening: Opening) -> None:
    found = [
        opening("transaction", FQRN),
        opening("transaction", "-t", "0", f"{FQRN}/path", name="/x/cvmfs_publish"),
        opening("transaction", name="/usr/bin/cvmfs_server"),
        opening("transaction", "-t", "5"),
    ]
    opening("transaction", "other.example.org")
    opening("transaction", FQRN, name="other")
    opening("publish", FQRN)
    wanted = {process.pid for process in found}
    assert set(processes_opening(FQRN)) == wanted


def test_a_commit_gives_way_to_who_is_opening_a_transaction(
    storage: StockStorage, flag: Path, opening: Opening
) -> None:
    process = opening("transaction", FQRN)
    with pytest.raises(RepositoryBusy, match=f"process {process.pid} is opening"):
        take(storage)
    process.communicate(b"\n")
    take(storage)
    assert not flag.exists()
