import os
from pathlib import Path

from workers.cvmfs import LocalStorage
from workers.cvmfs.storage.own_objects import OwnObjects

WHOLE = "data/ab/" + "cd" * 19
CATALOG = WHOLE[:-1] + "eC"


def storage_at(base: Path) -> LocalStorage:
    storage = LocalStorage(base)
    storage.prepare()
    return storage


def test_what_was_new_is_known_by_its_name() -> None:
    own = OwnObjects()
    for path in (WHOLE, CATALOG):
        own.note(path)
    assert list(own.paths()) == [WHOLE, CATALOG]
    own.forget()
    assert list(own.paths()) == []


def test_an_object_with_the_stamp_of_another_is_marked_once(tmp_path: Path) -> None:
    first, second = storage_at(tmp_path), storage_at(tmp_path)
    first.put(WHOLE, b"data")
    second.put(WHOLE, b"data")
    assert (tmp_path / WHOLE).read_bytes() == b"data"
    changed = (tmp_path / WHOLE).stat().st_ctime_ns
    assert list(first.own_objects()) == [WHOLE]
    assert list(second.own_objects()) == []
    third = storage_at(tmp_path)
    third.put(WHOLE, b"data")
    assert (tmp_path / WHOLE).stat().st_ctime_ns == changed
    assert first.delete_own([WHOLE]) == []


def test_putting_it_twice_does_not_make_it_anybody_else_s(tmp_path: Path) -> None:
    storage = storage_at(tmp_path)
    storage.put(WHOLE, b"data")
    storage.put(WHOLE, b"data")
    assert storage.delete_own([WHOLE]) == [WHOLE]


def test_a_stamp_makes_nothing_younger_than_it_is(tmp_path: Path) -> None:
    storage = storage_at(tmp_path)
    before = storage.clock()
    storage.put(WHOLE, b"data")
    age = (tmp_path / WHOLE).stat().st_mtime
    assert before - 1 <= age <= storage.clock()


def test_times_that_a_file_system_rounds_are_nobody_s(tmp_path: Path) -> None:
    storage = storage_at(tmp_path)
    storage.put(WHOLE, b"data")
    seconds = int((tmp_path / WHOLE).stat().st_mtime)
    os.utime(tmp_path / WHOLE, (seconds, seconds))
    assert storage.delete_own([WHOLE]) == []
