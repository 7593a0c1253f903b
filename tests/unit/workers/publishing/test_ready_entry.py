"""What processes write to each other: believed sealed, in its place and in its time."""

import json

import pytest

from workers.cvmfs import (
    Batch,
    ContentCollected,
    ContentHash,
    InvalidChange,
    PutLink,
    Revision,
)
from workers.publishing.ready_entry import (
    EntryRefused,
    FenceDown,
    Outcome,
    ReadyEntry,
    new_entry_id,
    opened_answer,
    sealed_answer,
)
from workers.publishing.seal import Seal

SEAL = Seal(b"secret", "unpacked.example.org", "test")
NOW = 1_800_000_000.0
ID = f"{int(NOW) * 10**9:020d}-0123456789abcdef"
BATCH = Batch((PutLink(b"/name\xff", b"target"),), b"mark")
ENTRY = ReadyEntry("fence", "state", BATCH)


def test_an_entry_is_read_back_as_it_was_laid_down() -> None:
    read = ReadyEntry.opened(SEAL, ID, ENTRY.sealed(SEAL, ID), now=NOW)
    assert (read.fence, read.state) == ("fence", "state")
    assert (read.batch.changes, read.batch.complete_at) == (BATCH.changes, b"mark")


def test_ids_are_ordered_by_time_and_are_all_different() -> None:
    ids = [new_entry_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert [one[:20] for one in ids] == sorted(one[:20] for one in ids)


@pytest.mark.parametrize("age", [-3700, 3700])
def test_an_entry_that_was_kept_is_refused(age: int) -> None:
    with pytest.raises(EntryRefused, match="put back"):
        ReadyEntry.opened(SEAL, ID, ENTRY.sealed(SEAL, ID), now=NOW + age)


def test_an_entry_under_another_id_is_refused() -> None:
    other = new_entry_id()
    with pytest.raises(EntryRefused, match="nobody who may sign"):
        ReadyEntry.opened(SEAL, other, ENTRY.sealed(SEAL, ID), now=NOW)


@pytest.mark.parametrize(
    "text", ["", "[]", "nothing", '["a", "b"]', '["a", "b", "{}"]', '["a", "b", 7]']
)
def test_what_another_version_sealed_is_refused(text: str) -> None:
    with pytest.raises(EntryRefused):
        ReadyEntry.opened(SEAL, ID, SEAL.close(ID, text), now=NOW)


def test_an_id_of_ours_begins_with_a_time() -> None:
    with pytest.raises(EntryRefused, match="another version"):
        ReadyEntry.opened(SEAL, "id", ENTRY.sealed(SEAL, "id"), now=NOW)


@pytest.mark.parametrize(
    "outcome",
    [
        Revision(7, ContentHash.of(b""), 1, is_new=True),
        InvalidChange("what"),
        ContentCollected("gone"),
        FenceDown(),
    ],
)
def test_an_answer_is_read_back_as_it_was_given(outcome: Outcome) -> None:
    read = opened_answer(SEAL, ID, sealed_answer(SEAL, ID, outcome))
    assert type(read) is type(outcome)
    assert str(read) == str(outcome)


def test_nobody_else_answers() -> None:
    said = json.dumps({"revision": [7, str(ContentHash.of(b"")), 1]})
    forged = Seal(b"guess", "unpacked.example.org", "test").close(ID, said)
    for answer in ("", said, forged, SEAL.close("other", said)):
        assert opened_answer(SEAL, ID, answer) is None
