"""The newest head that was seen is remembered, and older ones are told from it."""

from collections.abc import Iterator

import pytest
import redis

from tests.support.harness.redis_server import RedisServer
from workers.ledger import (
    KnownHeads,
    LiveImage,
    Published,
    Rebuilder,
)

FQRN = "unpacked.example.org"
KEY = f"cvmfs-webhook:head:{FQRN}"
DIGEST = f"sha256:{'1' * 64}"


@pytest.fixture
def connection(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis_server.client() as connection:
        connection.flushall()
        yield connection


@pytest.fixture
def heads(connection: redis.Redis) -> KnownHeads:
    return KnownHeads(connection)


def test_nothing_is_said_of_a_repository_that_is_not_known(heads: KnownHeads) -> None:
    assert heads.objection(FQRN, 1, "a") is None
    assert not heads.knows(FQRN)


def test_the_same_and_later_ones_are_as_they_should_be(heads: KnownHeads) -> None:
    heads.note(FQRN, 9, "a")
    assert heads.knows(FQRN)
    assert not heads.knows("other.example.org")
    assert heads.objection(FQRN, 9, "a") is heads.objection(FQRN, 10, "b") is None


def test_an_older_one_and_another_of_the_same_number_went_back(
    heads: KnownHeads,
) -> None:
    heads.note(FQRN, 9, "a")
    older, other = heads.objection(FQRN, 7, "c"), heads.objection(FQRN, 9, "b")
    assert "went back to revision 7, the ledger knows 9" in (older or "")
    assert "revision 9 is not the one" in (other or "")
    for said in (older, other):
        assert f"`cvmfs-webhook ledger rebuild {FQRN}`" in (said or "")


def test_only_a_word_brings_an_older_one_in(heads: KnownHeads) -> None:
    heads.note(FQRN, 9, "a")
    heads.note(FQRN, 7, "c")
    heads.note(FQRN, 9, "b")
    assert heads.objection(FQRN, 9, "a") is None
    heads.accept(FQRN, 7, "c")
    assert heads.objection(FQRN, 7, "c") is None
    assert heads.objection(FQRN, 6, "c") is not None
    heads.note(FQRN, 8, "d")
    assert heads.objection(FQRN, 7, "c") is not None


def test_a_repository_is_known_by_what_is_live_in_it(
    heads: KnownHeads, connection: redis.Redis
) -> None:
    image = Published(DIGEST, LiveImage({"flat": "/image"}), 1.0)
    images = {"registry.example.org/image:1": image}
    list(Rebuilder(connection).rebuild(FQRN, 3, images))
    assert heads.knows(FQRN)
    assert not heads.knows("other.example.org")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("revision", odd) for odd in (b"odd", b"\xff", b"1e300", b"inf", b"nan")),
        ("root", b"\xff"),
        (b"\xff", b""),
    ],
)
def test_what_cannot_be_read_is_not_known(
    heads: KnownHeads, connection: redis.Redis, field: str | bytes, value: bytes
) -> None:
    connection.hset(KEY, field, value)
    assert heads.objection(FQRN, 1, "a") is None
    heads.note(FQRN, 2, "b")
    # What was written anew is read again, whatever is beside it.
    assert heads.objection(FQRN, 1, "a") is not None


@pytest.mark.parametrize("first", ["objection", "note"])
def test_a_key_of_another_kind_is_put_aside_and_written_anew(
    heads: KnownHeads, connection: redis.Redis, first: str
) -> None:
    connection.set(KEY, "x")
    if first == "objection":
        assert heads.objection(FQRN, 1, "a") is None
    heads.note(FQRN, 2, "b")
    assert heads.knows(FQRN)
    assert heads.objection(FQRN, 1, "a") is not None
