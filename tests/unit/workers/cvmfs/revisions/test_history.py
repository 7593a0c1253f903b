import contextlib
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.repositories.repository_builders import FQRN, NOW
from workers.cvmfs import ContentHash
from workers.cvmfs.errors import FormatError, Malformed
from workers.cvmfs.revisions.history import History, Tag

ROOT = ContentHash(b"r" * 20)


def written() -> bytes:
    history = History(None, FQRN)
    history.move_trunk(ROOT, 5, 1, NOW)
    return history.finish()


GOOD = written()


def altered(*statements: str) -> bytes:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(written())
    for statement in statements:
        connection.execute(statement)
    data: bytes = connection.serialize()
    connection.close()
    return data


def test_tags_are_read_back() -> None:
    history = History(written(), FQRN, ContentHash(b"h" * 20))
    assert history.tags() == [Tag("trunk", ROOT, 5, 1, NOW, "current HEAD")]
    history.move_trunk(ContentHash(b"s" * 20), 6, 2, NOW + 1)
    again = History(history.finish(), FQRN)
    assert [(tag.name, tag.revision) for tag in again.tags()] == [
        ("trunk", 2),
        ("trunk-previous", 1),
    ]


def test_it_names_its_predecessor_zeros_for_none() -> None:
    def previous(data: bytes) -> str:
        connection = sqlite3.connect(":memory:")
        connection.deserialize(data)
        properties = dict(connection.execute("SELECT key, value FROM properties"))
        connection.close()
        return str(properties["previous_revision"])

    assert previous(written()) == "0" * 40
    base = ContentHash(b"h" * 20)
    assert previous(History(written(), FQRN, base).finish()) == str(base)


def test_tags_of_others_are_kept() -> None:
    row = f"('v1', '{'ab' * 20}', 1, 2, 0, NULL, NULL, '')"
    history = History(altered(f"INSERT INTO tags VALUES {row}"), FQRN)
    history.move_trunk(ROOT, 6, 2, NOW)
    assert {tag.name for tag in history.tags()} == {"v1", "trunk", "trunk-previous"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE properties SET value='2.0' WHERE key='schema'",
        "UPDATE properties SET value='other' WHERE key='fqrn'",
        "DROP TABLE properties",
    ],
)
def test_what_is_no_history_of_this_repository_is_refused(statement: str) -> None:
    with pytest.raises(Malformed):
        History(altered(statement), FQRN)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tags SET hash='x'",
        "UPDATE tags SET hash=NULL",
        "UPDATE tags SET name=x'ff'",
        "DROP TABLE tags",
    ],
)
def test_an_unsound_tag_is_refused(statement: str) -> None:
    with pytest.raises(Malformed):
        History(altered(statement), FQRN).tags()


def test_an_older_history_is_read_but_not_written() -> None:
    statement = "UPDATE properties SET value='2' WHERE key='schema_revision'"
    history = History(altered(statement), FQRN)
    assert len(history.tags()) == 1
    with pytest.raises(Malformed, match="schema revision 2"):
        history.move_trunk(ROOT, 1, 2, NOW)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_history_or_our_own_error(data: bytes) -> None:
    for candidate in (data, b"SQLite format 3\0" + data):
        with contextlib.suppress(FormatError):
            History(candidate, FQRN).tags()


@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)),
        min_size=1,
        max_size=20,
    )
)
def test_any_damaged_history_reads_or_raises_our_own_error(
    bytes_at: list[tuple[int, int]],
) -> None:
    data = bytearray(GOOD)
    for position, value in bytes_at:
        data[position] = value
    with contextlib.suppress(FormatError):
        History(bytes(data), FQRN).tags()
