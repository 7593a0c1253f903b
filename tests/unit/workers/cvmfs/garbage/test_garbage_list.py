"""What is put on the list of garbage comes off it, catalogs first."""

from contextlib import closing

import pytest

from workers.cvmfs.errors import StorageFailed
from workers.cvmfs.garbage.garbage_list import GarbageList
from workers.cvmfs.values.hash import ContentHash, Kind

OBJECTS = [
    (ContentHash.of(b"%d" % number), kind, number)
    for number in range(10)
    for kind in (Kind.BULK, Kind.CATALOG, Kind.PARTIAL)
]


def test_catalogs_come_first_and_the_others_in_their_order() -> None:
    with closing(GarbageList()) as garbage:
        for one in OBJECTS:
            garbage.add(*one)
        (batch,) = garbage.batches(100)
    assert batch[:10] == [one for one in OBJECTS if one[1] is Kind.CATALOG]
    assert batch[10:] == [one for one in OBJECTS if one[1] is not Kind.CATALOG]


def test_no_batch_is_larger_than_asked_and_none_is_empty() -> None:
    with closing(GarbageList()) as garbage:
        assert list(garbage.batches(7)) == []
        for one in OBJECTS:
            garbage.add(*one)
        batches = list(garbage.batches(7))
    assert [len(batch) for batch in batches] == [7, 7, 7, 7, 2]
    assert sorted(one[0] for batch in batches for one in batch) == sorted(
        one[0] for one in OBJECTS
    )


def fill(garbage: GarbageList) -> None:
    for _ in range(1000):
        garbage.add(*OBJECTS[0])


def test_a_disk_without_room_is_our_own_error() -> None:
    with closing(GarbageList()) as garbage:
        garbage._connection.execute("PRAGMA max_page_count=3")
        with pytest.raises(StorageFailed, match=r"^temporary database: .+ full"):
            fill(garbage)
