"""Connections that lead to a server that is not the primary, or is silent."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.support.harness.failing_over import Pair, run_pair
from tests.support.harness.redis_server import RedisServer
from tests.support.tools.waiting import wait_until
from workers.jobqueue.allowance import waiting_at_most
from workers.jobqueue.connection import connect_url
from workers.jobqueue.healing import PatientRetry
from workers.ledger import Ledger

REFERENCE = "registry.example.org/atlas/analysis:v1"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with run_pair(tmp_path) as running:
        yield running


@contextmanager
def two_connections(client: redis.Redis) -> Iterator[None]:
    """Have two connections in the pool, both used."""
    pool = client.connection_pool
    both = [pool.get_connection(), pool.get_connection()]
    for each in both:
        pool.release(each)
    yield


def test_after_a_failover_that_keeps_connections_the_new_primary_is_asked(
    pair: Pair,
) -> None:
    with connect_url(pair.url) as client, two_connections(client):
        ledger = Ledger(client)
        ledger.request(REFERENCE, source="operator")
        pair.fail_over()
        assert ledger.request(REFERENCE, source="operator").number == 2
        # And by whoever only reads, over the other connection.
        assert client.info("replication")["role"] == "master"
        with client.pipeline() as pipeline:
            pipeline.set("a", 1)
            pipeline.set("b", 2)
            assert pipeline.execute() == [True, True]
    with pair.second.client() as there:
        assert there.get("b") == b"2"


def test_a_transaction_survives_a_failover(pair: Pair) -> None:
    with connect_url(pair.url) as client:
        client.ping()
        pair.fail_over()
        with client.pipeline() as pipeline:
            pipeline.set("a", 1)
            assert pipeline.execute() == [True]


def test_who_waits_for_a_job_waits_at_the_new_primary(pair: Pair) -> None:
    with (
        connect_url(pair.url) as client,
        pair.first.client() as first,
        ThreadPoolExecutor() as threads,
    ):
        job = threads.submit(client.blmove, "from", "to", 20)
        wait_until(
            lambda: first.info("clients")["blocked_clients"] == 1, "somebody waits"
        )
        pair.fail_over()
        with pair.second.client() as second:
            second.lpush("from", "job")
        assert job.result() == b"job"


def test_what_looks_how_safe_redis_is_does_not_believe_a_former_primary(
    pair: Pair,
) -> None:
    with connect_url(pair.url) as client:
        ledger = Ledger(client)
        assert ledger.durability_problem() is None
        pair.fail_over()
        assert ledger.durability_problem() is None


def test_a_connection_that_lost_its_login_is_made_anew(tmp_path: Path) -> None:
    settings = ("--requirepass", "s3cret")
    with (
        RedisServer(tmp_path, "redis", *settings, password="s3cret") as server,
        server.client() as client,
    ):
        assert client.execute_command("RESET") == "RESET"  # as a proxy may
        assert client.set("kept", "yes")


def test_a_password_that_is_wrong_is_not_tried_for_long() -> None:
    tries = []

    def refused() -> None:
        tries.append(1)
        raise redis.AuthenticationError("invalid username-password pair")

    with pytest.raises(redis.AuthenticationError):
        PatientRetry(60).call_with_retry(refused, lambda _: None)
    assert len(tries) == 2


def test_a_silent_server_costs_no_more_than_the_allowance(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, server.client() as client:
        client.ping()
        server.freeze()
        try:
            # Each of them has five seconds for its answer, and is asked twice.
            with waiting_at_most(0.2):
                for _ in range(20):
                    with pytest.raises(redis.TimeoutError):
                        client.get("kept")
        finally:
            server.thaw()
        assert client.get("kept") is None


def test_questions_within_a_question_are_not_each_asked_again() -> None:
    tries = []

    def refused() -> None:
        tries.append(1)
        raise redis.ConnectionError("refused")

    retry = PatientRetry(0)
    with pytest.raises(redis.ConnectionError):
        retry.call_with_retry(
            lambda: retry.call_with_retry(refused, lambda _: None), lambda _: None
        )
    assert len(tries) == 2
