import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from workers.cvmfs import LocalStorage
from workers.cvmfs.errors import NotFound, RepositoryBusy, StorageFailed

OBJECT = "data/ab/cdef"

HOLD_THE_LOCK = """
import sys
from pathlib import Path
from workers.cvmfs import LocalStorage
with LocalStorage(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    storage = LocalStorage(tmp_path, patience_seconds=0)
    storage.prepare()
    return storage


def test_a_repository_gets_its_257_folders(
    storage: LocalStorage, tmp_path: Path
) -> None:
    storage.prepare()
    names = {path.name for path in (tmp_path / "data").iterdir()}
    assert names == {"txn", *(f"{number:02x}" for number in range(256))}


def test_an_object_is_stored_once_and_never_touched_again(
    storage: LocalStorage, tmp_path: Path
) -> None:
    assert storage.put(OBJECT, b"data")
    inode = (tmp_path / OBJECT).stat().st_ino
    assert not storage.put(OBJECT, b"data")
    assert (tmp_path / OBJECT).stat().st_ino == inode
    assert storage.exists(OBJECT)
    assert storage.get(OBJECT) == b"data"
    assert list((tmp_path / "data/txn").iterdir()) == []


def test_a_staged_object_appears_when_it_is_published(
    storage: LocalStorage, tmp_path: Path
) -> None:
    with storage.stage() as staged:
        staged.write(b"da")
        staged.write(b"ta")
        assert not storage.exists(OBJECT)
        assert staged.publish(OBJECT)
    with storage.stage() as staged:
        staged.write(b"data")
        assert not staged.publish(OBJECT)
    assert storage.get(OBJECT) == b"data"
    assert list((tmp_path / "data/txn").iterdir()) == []


def test_an_unpublished_object_leaves_nothing(
    storage: LocalStorage, tmp_path: Path
) -> None:
    with storage.stage() as staged:
        staged.write(b"data")
    assert list((tmp_path / "data/txn").iterdir()) == []


def test_a_mutable_file_is_replaced_as_a_whole(
    storage: LocalStorage, tmp_path: Path
) -> None:
    storage.replace(".cvmfspublished", b"a long first version")
    with storage.open(".cvmfspublished") as reader:
        storage.replace(".cvmfspublished", b"second")
        assert reader.read() == b"a long first version"
    assert storage.get(".cvmfspublished") == b"second"
    assert list((tmp_path / "data/txn").iterdir()) == []
    storage.sync()


def test_what_is_not_there_is_not_found(storage: LocalStorage) -> None:
    for path in (OBJECT, ".cvmfspublished", ".cvmfspublished/x", "data"):
        with pytest.raises(NotFound):
            storage.get(path)
    assert not storage.exists(OBJECT)


def test_a_refusing_disk_raises_our_own_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for root in (tmp_path / "file", tmp_path / "missing"):
        storage = LocalStorage(root)
        with pytest.raises(StorageFailed):
            storage.put(OBJECT, b"data")
        with pytest.raises(StorageFailed):
            storage.replace(".cvmfspublished", b"data")
        with pytest.raises(StorageFailed), storage.stage():
            pass
        with pytest.raises(StorageFailed), storage.lock():
            pass
        with pytest.raises(StorageFailed):
            storage.sync()
    with pytest.raises(StorageFailed):
        LocalStorage(tmp_path / "file").prepare()


def test_a_failed_write_leaves_nothing(storage: LocalStorage, tmp_path: Path) -> None:
    (tmp_path / OBJECT).mkdir()
    with pytest.raises(StorageFailed):
        storage.put(OBJECT, b"data")
    with pytest.raises(StorageFailed):
        storage.replace(OBJECT, b"data")
    with pytest.raises(StorageFailed), storage.stage() as staged:
        staged.publish(OBJECT)
    assert list((tmp_path / "data/txn").iterdir()) == []


def test_only_one_holds_the_lock(storage: LocalStorage, tmp_path: Path) -> None:
    with storage.lock():
        with pytest.raises(RepositoryBusy), storage.lock():
            pass
        with (
            pytest.raises(RepositoryBusy),
            LocalStorage(tmp_path, patience_seconds=0.02).lock(),
        ):
            pass
    with storage.lock():
        pass


def test_the_lock_is_waited_for(storage: LocalStorage, tmp_path: Path) -> None:
    patient = LocalStorage(tmp_path, patience_seconds=60)
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
    with patient.lock():
        assert release.is_set()
    thread.join()
    timer.join()


@pytest.mark.slow
def test_the_lock_dies_with_its_holder(storage: LocalStorage, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LOCK, os.fspath(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RepositoryBusy), storage.lock():
            pass
        holder.kill()
        holder.wait()
        with storage.lock():
            pass


def test_a_lock_that_root_took_can_be_taken_by_the_owner(
    storage: LocalStorage, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    txn = next(tmp_path.rglob("data/txn"))
    os.chown(txn, 1234, 5678)
    with storage.lock():
        status = (txn / "publish.lock").stat()
    assert (status.st_uid, status.st_gid) == (1234, 5678)


def test_what_a_dead_writer_left_is_swept_away_with_the_next_commit(
    storage: LocalStorage, tmp_path: Path
) -> None:
    folder = tmp_path / "data/txn"
    two_days_ago = time.time() - 2 * 24 * 3600
    for name in ("put-old", "of-another-tool"):
        (folder / name).write_bytes(b"")
        os.utime(folder / name, (two_days_ago, two_days_ago))
    (folder / "put-young").write_bytes(b"")
    with storage.lock():
        pass
    assert {path.name for path in folder.iterdir()} == {
        "of-another-tool",
        "publish.lock",
        "put-young",
    }


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_everybody_may_read_a_repository_and_nobody_hold_its_lock(
    tmp_path: Path, umask: int
) -> None:
    root = tmp_path / "srv" / "repository"
    storage = LocalStorage(root)
    before = os.umask(umask)
    try:
        storage.prepare()
        storage.put("data/00/object", b"object")
        storage.replace(".cvmfspublished", b"manifest")
        with storage.stage() as staged:
            staged.write(b"staged")
            staged.publish("data/01/object")
        with storage.lock():
            pass
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_dir():
            assert mode == 0o755, path
        elif path.name == "publish.lock":
            assert mode == 0o600, path
        else:
            assert mode == 0o644, path
