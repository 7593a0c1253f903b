"""What every ``Storage`` promises, asked of each of them."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import FQRN
from tests.support.repositories.s3_server import S3Server, s3_server
from workers.cvmfs import LocalStorage, S3Storage, Storage
from workers.cvmfs.errors import NotFound, RepositoryBusy, StorageFailed
from workers.cvmfs.storage.shared_with_stock import StockStorage

OBJECT = "data/ab/cdef"
MUTABLE = ".cvmfspublished"
LEASE_SECONDS = 0.5

HOLD_LOCAL = """
import sys
from pathlib import Path
from workers.cvmfs import LocalStorage
storage = LocalStorage(Path(sys.argv[1]))
"""
HOLD_S3 = """
import sys
from workers.cvmfs import BucketAccess, S3Storage
bucket, endpoint, access_key, secret_key = sys.argv[1:]
access = BucketAccess(
    bucket, "p", endpoint=endpoint, access_key=access_key, secret_key=secret_key
)
storage = S3Storage(access, lease_seconds=0.5)
"""
HOLD_STOCK = """
import sys
from pathlib import Path
from workers.cvmfs import LocalStorage
from workers.cvmfs.storage.shared_with_stock import StockStorage
base, spool = map(Path, sys.argv[1:])
storage = StockStorage(LocalStorage(base), spool, "test.example.org")
"""
HOLD = """
with storage.lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@dataclass
class Place:
    """Somewhere to store.

    Attributes:
        new: makes another storage of the same place, as another process would.
        holder: the command of a process that holds its lock.
        stop: makes the place refuse everything from now on.
    """

    new: Callable[[float], Storage]
    holder: list[str]
    stop: Callable[[], None]


def local_place(base: Path) -> Place:
    def stop() -> None:
        base.rename(base.with_name("elsewhere"))
        base.write_bytes(b"")

    return Place(
        lambda patience: LocalStorage(base, patience_seconds=patience),
        [sys.executable, "-c", HOLD_LOCAL + HOLD, os.fspath(base)],
        stop,
    )


def stock_place(folder: Path) -> Place:
    base, spool = folder / "base", folder / "spool"
    spool.mkdir()

    def new(patience: float) -> StockStorage:
        inner = LocalStorage(base, patience_seconds=patience)
        return StockStorage(inner, spool, FQRN, patience_seconds=patience)

    command = [sys.executable, "-c", HOLD_STOCK + HOLD]
    places = (os.fspath(base), os.fspath(spool))
    return Place(new, [*command, *places], local_place(base).stop)


def s3_place(server: S3Server) -> Place:
    access = server.access("p")

    def stop() -> None:
        server.refuse = lambda _: 503

    values = (access.bucket, access.endpoint, access.access_key, access.secret_key)
    return Place(
        lambda patience: S3Storage(
            access,
            patience_seconds=patience,
            lease_seconds=LEASE_SECONDS,
            retry_seconds=0,
        ),
        [sys.executable, "-c", HOLD_S3 + HOLD, *map(str, values)],
        stop,
    )


@pytest.fixture(params=["local", "stock", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "local":
        yield local_place(tmp_path / "base")
    elif request.param == "stock":
        yield stock_place(tmp_path)
    else:
        with s3_server() as server:
            yield s3_place(server)


@pytest.fixture
def storage(place: Place) -> Storage:
    storage = place.new(0)
    storage.prepare()
    return storage


def test_preparing_twice_is_preparing_once(storage: Storage) -> None:
    storage.prepare()
    assert storage.put(OBJECT, b"data")


def test_an_object_is_there_for_everybody_after_sync(
    storage: Storage, place: Place
) -> None:
    assert storage.put(OBJECT, b"data")
    storage.sync()
    for reader in (storage, place.new(0)):
        assert reader.exists(OBJECT)
        assert reader.get(OBJECT) == b"data"
        with reader.open(OBJECT) as file:
            assert file.read(1) == b"d"
            assert file.read() == b"ata"
            assert file.read() == b""


def test_what_was_just_put_is_read_through_the_same_storage(storage: Storage) -> None:
    for number in range(20):
        storage.put(f"data/ab/{number}", b"%d" % number)
        assert storage.exists(f"data/ab/{number}")
        assert storage.get(f"data/ab/{number}") == b"%d" % number


@pytest.mark.parametrize("size", [0, 1, 100_000, 9_000_000])
def test_objects_of_all_sizes_are_read_as_they_were_put(
    storage: Storage, size: int
) -> None:
    data = os.urandom(size)
    storage.put(OBJECT, data)
    with storage.stage() as staged:
        for offset in range(0, size, 65_536):
            staged.write(data[offset : offset + 65_536])
        assert staged.publish("data/ab/staged")
    storage.sync()
    for path in (OBJECT, "data/ab/staged"):
        assert storage.get(path) == data
        with storage.open(path) as file:
            assert file.read() == data


def test_a_staged_object_appears_when_it_is_published(storage: Storage) -> None:
    with storage.stage() as staged:
        staged.write(b"da")
        staged.write(b"ta")
        assert not storage.exists(OBJECT)
        assert staged.publish(OBJECT)
    with storage.stage() as staged:
        staged.write(b"data")
        assert not staged.publish(OBJECT)
    with storage.stage() as staged:
        staged.write(b"never published")
    assert storage.get(OBJECT) == b"data"


def test_a_mutable_file_is_replaced_as_a_whole(storage: Storage) -> None:
    storage.replace(MUTABLE, b"a long first version")
    with storage.open(MUTABLE) as reader:
        first = reader.read(1)
        storage.replace(MUTABLE, b"second")
        assert first + reader.read() == b"a long first version"
    assert storage.get(MUTABLE) == b"second"
    storage.sync()


def test_what_is_not_there_is_not_found(storage: Storage) -> None:
    for path in (OBJECT, MUTABLE, ".cvmfspublished/x", "data"):
        with pytest.raises(NotFound):
            storage.get(path)
        with pytest.raises(NotFound):
            storage.open(path)
    assert not storage.exists(OBJECT)


def test_many_threads_may_put_the_same_at_once(storage: Storage) -> None:
    def put(number: int) -> None:
        storage.put(f"data/ab/{number % 40}", b"%d" % (number % 40))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(400)))
    storage.sync()
    for number in range(40):
        assert storage.get(f"data/ab/{number}") == b"%d" % number


def put_and_sync(storage: Storage) -> None:
    storage.put(OBJECT, b"data")
    storage.sync()


def test_a_place_that_refuses_raises_our_own_error(
    storage: Storage, place: Place
) -> None:
    place.stop()
    with pytest.raises(StorageFailed):
        put_and_sync(storage)
    with pytest.raises(StorageFailed):
        storage.replace(MUTABLE, b"data")
    with pytest.raises(StorageFailed), storage.stage() as staged:
        staged.publish(OBJECT)
    with pytest.raises(StorageFailed), storage.lock():
        pass
    with pytest.raises(StorageFailed):
        storage.sync()
    with pytest.raises(StorageFailed):
        place.new(0).prepare()


def test_only_one_holds_the_lock(storage: Storage, place: Place) -> None:
    with storage.lock():
        with pytest.raises(RepositoryBusy), storage.lock():
            pass
        with pytest.raises(RepositoryBusy), place.new(0.02).lock():
            pass
    with storage.lock():
        pass


def test_who_asks_for_the_lock_says_how_long_to_wait(
    storage: Storage, place: Place
) -> None:
    patient = place.new(600)
    with storage.lock():
        for seconds in (0, 0.02):
            with (
                pytest.raises(RepositoryBusy, match=r"for 0(\.0\d)? s"),
                patient.lock(patience_seconds=seconds),
            ):
                pass
    with patient.lock(patience_seconds=0):
        pass


def test_an_error_gives_the_lock_back(storage: Storage, place: Place) -> None:
    with pytest.raises(ZeroDivisionError), storage.lock():
        raise ZeroDivisionError
    with place.new(0).lock():
        pass


def test_the_lock_is_waited_for(storage: Storage, place: Place) -> None:
    release = threading.Event()
    held = threading.Event()

    def hold() -> None:
        with storage.lock():
            held.set()
            release.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    timer = threading.Timer(0.05, release.set)
    timer.start()
    with place.new(60).lock():
        assert release.is_set()
    thread.join()
    timer.join()


@pytest.mark.slow
def test_the_lock_is_kept_while_its_holder_lives_and_dies_with_it(
    storage: Storage, place: Place
) -> None:
    with subprocess.Popen(
        place.holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RepositoryBusy), place.new(3 * LEASE_SECONDS).lock():
            pass
        holder.kill()
        holder.wait()
        with place.new(60).lock():
            pass
