"""Whether the ledger knows when its Redis could lose what it accepted."""

from pathlib import Path

import pytest

from tests.support.harness.redis_server import Flavour, RedisServer
from workers.ledger import Ledger


@pytest.mark.parametrize("flavour", ["redis", "valkey"])
def test_a_server_that_syncs_before_it_answers_is_safe(
    tmp_path: Path, flavour: Flavour
) -> None:
    with RedisServer(tmp_path, flavour) as server, server.client() as connection:
        assert Ledger(connection).durability_problem() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("appendonly", "no"),
        ("appendfsync", "everysec"),
        ("no-appendfsync-on-rewrite", "yes"),
        ("maxmemory-policy", "allkeys-lru"),
    ],
)
def test_each_weak_setting_is_named(tmp_path: Path, name: str, value: str) -> None:
    with RedisServer(tmp_path) as server, server.client() as connection:
        connection.config_set(name, value)
        problem = Ledger(connection).durability_problem()
        assert problem is not None
        assert f"{name} {value}" in problem
        assert "queue.durability: trusted" in problem


def test_a_replica_is_no_place_for_the_ledger(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, server.client() as connection:
        connection.replicaof("127.0.0.1", "1")
        problem = Ledger(connection).durability_problem()
        assert problem is not None
        assert "replica" in problem


def test_a_server_that_does_not_tell_is_not_believed(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "redis", "--rename-command", "CONFIG", "")
    with server, server.client() as connection:
        problem = Ledger(connection).durability_problem()
        assert problem is not None
        assert "CONFIG GET" in problem
