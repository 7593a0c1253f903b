"""What was seen of a registry is remembered, and no two look at a time."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.harness.ledger import LedgerDriver
from tests.support.tools.programs import free_port
from workers.jobqueue.connection import connect_url
from workers.ledger import LedgerUnavailable, Looks
from workers.ledger.looks import Seen, Told

A, B = "registry.example.org/atlas/a", "registry.example.org/atlas/b"
TAGS = st.text(st.characters(codec="utf-8"), max_size=20)
TIMES = st.floats(0, 2**40)
SEEN = st.builds(
    Seen,
    tags=st.frozensets(TAGS),
    digests=st.dictionaries(TAGS, TAGS),
    fetched=st.frozensets(TAGS),
    surplus=st.dictionaries(TAGS, TIMES),
    told=st.dictionaries(TAGS, st.builds(Told, TAGS, TIMES)),
)


@pytest.fixture
def looks(driver: LedgerDriver) -> Looks:
    return Looks(driver.connection, clock=driver.clock)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SEEN)
def test_what_was_seen_is_read_back(looks: Looks, seen: Seen) -> None:
    looks.remember(A, seen)
    assert looks.seen(A) == seen
    assert looks.seen(B) is None


def test_a_look_is_noted_with_its_time(looks: Looks, driver: LedgerDriver) -> None:
    looks.remember(A, Seen())
    driver.clock.passes(60)
    looks.remember(B, Seen())
    now = driver.clock()
    assert looks.times() == {A: now - 60, B: now}
    looks.remember(A, Seen())
    assert looks.times()[A] == now


def test_a_look_that_is_put_off_has_seen_nothing(
    looks: Looks, driver: LedgerDriver
) -> None:
    looks.postpone(A, driver.clock() + 3600)
    assert looks.times() == {A: driver.clock() + 3600}
    assert looks.seen(A) is None


def test_what_is_forgotten_begins_anew_and_no_other_does(looks: Looks) -> None:
    for name in (A, B):
        looks.remember(name, Seen(frozenset({"v1"})))
    looks.forget([])
    looks.forget([A])
    assert looks.seen(A) is None
    assert looks.seen(B) == Seen(frozenset({"v1"}))
    assert list(looks.times()) == [B]


def test_one_of_two_claims_wins_until_it_is_given_back(
    looks: Looks, driver: LedgerDriver
) -> None:
    other = Looks(driver.connection, clock=driver.clock)
    with looks.claim(A) as ours:
        with other.claim(A) as theirs, other.claim(B) as another:
            assert (ours, theirs, another) == (True, False, True)
        with other.claim(A) as theirs:
            assert not theirs  # who lost did not give back what is not theirs
    with other.claim(A) as theirs:
        assert theirs


def test_a_claim_that_took_too_long_ends_without_an_error(
    looks: Looks, driver: LedgerDriver
) -> None:
    with looks.claim(A) as ours:
        driver.connection.flushall()
        with looks.claim(A) as another:
            assert (ours, another) == (True, True)


def test_a_claim_without_an_end_stops_no_look_for_ever(
    looks: Looks, driver: LedgerDriver
) -> None:
    driver.connection.set(f"cvmfs-webhook:looking:{A}", "x")
    with looks.claim(A) as ours:
        assert not ours
    with looks.claim(A) as ours:
        assert ours


def test_the_last_question_is_remembered(looks: Looks, driver: LedgerDriver) -> None:
    assert looks.last_asked() is None
    looks.note_asked()
    driver.clock.passes(5)
    assert looks.last_asked() == driver.clock() - 5


def test_a_server_that_is_gone_is_our_own_error() -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    with connect_url(url, patience_seconds=0.1) as connection:
        looks = Looks(connection, clock=lambda: 1.0)
        for ask in (looks.times, lambda: looks.remember(A, Seen())):
            with pytest.raises(LedgerUnavailable):
                ask()


@pytest.mark.parametrize("odd", [b"\xff\xfe", b"garbage", b"nan", b"[]", b"{}", b""])
def test_what_others_wrote_counts_as_never_seen(
    looks: Looks, driver: LedgerDriver, odd: bytes
) -> None:
    looks.remember(B, Seen(frozenset({"v1"})))
    driver.connection.set(f"cvmfs-webhook:look:{A}", odd)
    driver.connection.set("cvmfs-webhook:asked", odd)
    driver.connection.zadd("cvmfs-webhook:looks", {odd: 5.0})
    assert looks.seen(A) is None
    assert looks.seen(B) == Seen(frozenset({"v1"}))
    assert looks.last_asked() is None
    assert looks.times()[B] == driver.clock()
    assert b"\xff\xfe".decode(errors="surrogateescape") not in looks.times()


def test_another_type_of_value_is_put_aside(looks: Looks, driver: LedgerDriver) -> None:
    for key in (f"look:{A}", "asked"):
        driver.connection.rpush(f"cvmfs-webhook:{key}", "no text")
    driver.connection.set("cvmfs-webhook:looks", "no sorted set")
    assert (looks.times(), looks.seen(A), looks.last_asked()) == ({}, None, None)
    looks.remember(A, Seen())
    assert looks.times() == {A: driver.clock()}
    kept = driver.connection.get("cvmfs-webhook:set-aside:cvmfs-webhook:looks")
    assert kept == b"no sorted set"
