"""A ledger that cannot be asked is one error of ours, whatever is asked."""

from pathlib import Path

import pytest

from tests.support.harness.ledger import REFERENCE
from tests.support.harness.redis_server import RedisServer
from workers.ledger import (
    Ledger,
    LedgerUnavailable,
)


@pytest.mark.slow
def test_a_server_that_is_gone_is_one_error_of_ours(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, server.client() as connection:
        ledger = Ledger(connection)
        server.kill()
        with pytest.raises(LedgerUnavailable, match="queue server"):
            ledger.request(REFERENCE, source="operator")
        with pytest.raises(LedgerUnavailable):
            ledger.image(REFERENCE)
        problem = ledger.durability_problem()
        assert problem is not None
        assert "does not answer" in problem
