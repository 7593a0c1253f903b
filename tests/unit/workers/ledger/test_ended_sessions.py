"""A session that was ended stays so for as long as its cookie would hold."""

from pathlib import Path

import pytest

from tests.support.harness.ledger import LedgerDriver
from tests.support.harness.redis_server import RedisServer
from workers.ledger import EndedSessions, LedgerUnavailable


def test_an_ended_session_is_known_for_its_time_and_no_other_is(
    driver: LedgerDriver,
) -> None:
    sessions = EndedSessions(driver.connection)
    sessions.end("one", seconds=3600)
    assert sessions.has_ended("one")
    assert not sessions.has_ended("two")
    [key] = driver.connection.keys("*ended-session:one")
    assert 3500 < driver.connection.ttl(key) <= 3600


@pytest.mark.slow
def test_without_redis_nobody_is_told_that_a_session_goes_on(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, server.client() as connection:
        server.kill()
        with pytest.raises(LedgerUnavailable):
            EndedSessions(connection).has_ended("one")
