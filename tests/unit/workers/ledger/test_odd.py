"""What cannot be read is said once and passed over."""

import logging

import pytest

from tests.support.harness.ledger import REFERENCE, LedgerDriver
from workers.ledger.odd import is_canonical, is_name, readable, typed


def test_what_cannot_be_read_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert list(readable("number", int, ["1", "two", "3"])) == [1, 3]
    assert len(caplog.records) == 1
    assert "number 'two' cannot be read" in caplog.text


def test_what_goes_wrong_besides_is_not_hidden() -> None:
    def broken(_: str) -> int:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        list(readable("number", broken, ["1"]))


def test_a_name_is_a_line_of_text() -> None:
    assert is_name(REFERENCE)
    for odd in ("", "a\n", "\x1b[2J", b"\xff".decode(errors="surrogateescape")):
        assert not is_name(odd)


@pytest.mark.parametrize("name", ["debian", "a/b:c:d", "", "\udcff"])
def test_jobs_are_for_canonical_references_only(name: str) -> None:
    assert is_canonical(REFERENCE)
    assert not is_canonical(name)


def test_what_is_put_aside_is_kept(driver: LedgerDriver) -> None:
    connection = driver.connection
    connection.rpush("ours", "x")
    assert typed(connection, "ours", lambda: connection.get("ours")) is None
    assert connection.lrange("cvmfs-webhook:set-aside:ours", 0, -1) == [b"x"]
