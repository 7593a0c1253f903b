import contextlib
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.repositories.repository_builders import FQRN, NOW
from workers.cvmfs import ContentHash
from workers.cvmfs.errors import FormatError, Malformed
from workers.cvmfs.revisions.reflog import ReferenceType, Reflog, ReflogReference

ROOT = ReflogReference(ContentHash(b"r" * 20), ReferenceType.CATALOG)
CERTIFICATE = ReflogReference(ContentHash(b"c" * 20), ReferenceType.CERTIFICATE)


def written() -> bytes:
    reflog = Reflog(None, FQRN)
    reflog.add(ROOT, NOW)
    return reflog.finish()


GOOD = written()


def altered(statement: str) -> bytes:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(written())
    connection.execute(statement)
    data: bytes = connection.serialize()
    connection.close()
    return data


def test_references_are_read_back() -> None:
    reflog = Reflog(written(), FQRN)
    reflog.add(CERTIFICATE, NOW + 1)
    again = Reflog(reflog.finish(), FQRN)
    assert again.references() == {ROOT: NOW, CERTIFICATE: NOW + 1}
    assert again.contains(ROOT)
    assert not again.contains(ROOT._replace(type=ReferenceType.HISTORY))


def test_a_reference_that_is_added_again_becomes_younger() -> None:
    reflog = Reflog(written(), FQRN)
    reflog.add(ROOT, NOW + 5)
    assert reflog.references() == {ROOT: NOW + 5}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE properties SET value='2.0' WHERE key='schema'",
        "UPDATE properties SET value='other' WHERE key='fqrn'",
        "DROP TABLE properties",
        "DROP TABLE refs",
        "UPDATE refs SET hash='x'",
        "UPDATE refs SET hash=NULL",
        "UPDATE refs SET type=4",
        "UPDATE refs SET type=NULL",
    ],
)
def test_what_is_no_reflog_of_this_repository_is_refused(statement: str) -> None:
    with pytest.raises(Malformed):
        Reflog(altered(statement), FQRN).references()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_reflog_or_our_own_error(data: bytes) -> None:
    for candidate in (data, b"SQLite format 3\0" + data):
        with contextlib.suppress(FormatError):
            Reflog(candidate, FQRN).references()


@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)),
        min_size=1,
        max_size=20,
    )
)
def test_any_damaged_reflog_reads_or_raises_our_own_error(
    bytes_at: list[tuple[int, int]],
) -> None:
    data = bytearray(GOOD)
    for position, value in bytes_at:
        data[position] = value
    with contextlib.suppress(FormatError):
        Reflog(bytes(data), FQRN).references()
