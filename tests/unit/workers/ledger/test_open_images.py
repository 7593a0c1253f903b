"""What strangers may see of the ledger, and that nothing else is counted."""

from collections.abc import Collection

import pytest

from tests.support.harness.ledger import D1, D2, LedgerDriver
from workers.ledger import OpenImages, Outcome, RunResult, State

LIVE, GONE, PUBLIC, PRIVATE, WAITING, REFUSED = (
    f"registry.example.org/a/{name}:v1"
    for name in ("live", "gone", "public", "private", "waiting", "refused")
)


@pytest.fixture
def full(driver: LedgerDriver) -> LedgerDriver:
    """Give a ledger with an image of each kind, the newest change last."""
    driver.make_live(D1, LIVE)
    driver.clock.passes(1)
    driver.make_live(D1, GONE)
    driver.remove(GONE)
    driver.clock.passes(1)
    driver.fail(PUBLIC)
    driver.clock.passes(1)
    driver.fail(PRIVATE, is_public=False)
    driver.push(D1, WAITING)
    driver.refuse(REFUSED)
    return driver


def allow_all(references: Collection[str]) -> Collection[str]:
    return references


def deny_all(_references: Collection[str]) -> Collection[str]:
    return ()


def names(
    seen: OpenImages, *, state: State | None = None, search: str | None = None
) -> list[str]:
    page = seen.images(state=state, search=search)
    assert page.total == len(page.images)
    return [image.reference for image in page.images]


def counted(seen: OpenImages) -> dict[State, int]:
    return {state: number for state, number in seen.counts().items() if number}


def test_what_is_or_was_live_and_what_anybody_can_pull_is_seen(
    full: LedgerDriver,
) -> None:
    seen = OpenImages(full.connection, allow_all)
    assert names(seen) == [PUBLIC, GONE, LIVE]
    assert names(seen, state=State.FAILED) == [PUBLIC]
    assert names(seen, state=State.QUEUED) == []
    assert names(seen, search="a/p") == [PUBLIC]
    assert counted(seen) == {State.LIVE: 1, State.REMOVED: 1, State.FAILED: 1}
    for name in (LIVE, GONE, PUBLIC):
        found = seen.image(name)
        assert found is not None
        assert found.reference == name
        assert seen.runs(name)
    assert [life.digest for life in seen.lives(GONE)] == [None, D1]


def test_nothing_is_said_of_what_is_not_seen(full: LedgerDriver) -> None:
    seen = OpenImages(full.connection, allow_all)
    for name in (PRIVATE, WAITING, REFUSED, "registry.example.org/never/pushed:v1"):
        assert seen.image(name) is None
        assert not seen.runs(name)
        assert not seen.lives(name)


def test_a_policy_that_changes_hides_what_was_never_live_at_once(
    full: LedgerDriver,
) -> None:
    seen = OpenImages(full.connection, deny_all)
    assert names(seen) == [GONE, LIVE]
    assert names(seen, state=State.FAILED) == []
    assert seen.image(PUBLIC) is None
    assert not seen.runs(PUBLIC)
    assert counted(seen) == {State.LIVE: 1, State.REMOVED: 1}
    assert seen.images(0, 1).total == 2


def test_what_others_put_into_a_listing_makes_no_count_wrong(
    full: LedgerDriver,
) -> None:
    seen = OpenImages(full.connection, deny_all)
    full.connection.sadd("cvmfs-webhook:unlived", PRIVATE, WAITING, b"\xff\xfe", "")
    assert counted(seen) == {State.LIVE: 1, State.REMOVED: 1}
    assert names(seen) == [GONE, LIVE]


def test_a_later_look_closes_and_opens_an_image_again(full: LedgerDriver) -> None:
    seen = OpenImages(full.connection, allow_all)
    full.fail(PUBLIC, is_public=False)
    assert seen.image(PUBLIC) is None
    assert names(seen) == [GONE, LIVE]
    assert counted(seen) == {State.LIVE: 1, State.REMOVED: 1}
    full.push(D1, PUBLIC)
    lease = full.begin(reference=PUBLIC)
    assert seen.image(PUBLIC) is None
    full.ledger.stage(lease, State.FETCHING, is_public=True)
    assert names(seen, state=State.FETCHING) == [PUBLIC]
    # What is not said does not change it.
    full.ledger.stage(lease, State.CONVERTING)
    assert names(seen, state=State.CONVERTING) == [PUBLIC]
    assert names(seen, state=State.FETCHING) == []
    full.ledger.stage(lease, State.PUBLISHING, is_public=False)
    assert seen.image(PUBLIC) is None
    assert names(seen, state=State.PUBLISHING) == []
    full.publish(lease)
    assert names(seen, state=State.LIVE) == [PUBLIC, LIVE]
    assert not full.connection.scard("cvmfs-webhook:unlived")


def test_what_was_live_is_seen_whatever_is_pushed_there_later(
    full: LedgerDriver,
) -> None:
    seen = OpenImages(full.connection, deny_all)
    full.refuse(GONE)
    assert names(seen, state=State.REFUSED) == [GONE]
    full.push(D2, LIVE)
    result = RunResult(Outcome.FAILED, digest=D2, is_public=False)
    full.ledger.finish(full.begin(reference=LIVE), result)
    assert names(seen, state=State.FAILED) == [LIVE]


def test_records_of_before_there_were_listings_are_found_once(
    full: LedgerDriver,
) -> None:
    connection = full.connection
    before = OpenImages(connection, allow_all)
    expected = (names(before), counted(before))
    connection.delete(*connection.keys("cvmfs-webhook:open*"), "cvmfs-webhook:unlived")
    for name in (LIVE, GONE):
        connection.hdel(f"cvmfs-webhook:image:{name}", "was_live")
    connection.hdel(f"cvmfs-webhook:image:{PUBLIC}", "is_public")
    full.make_live(D1, "registry.example.org/a/new:v1")

    after = OpenImages(connection, allow_all)
    assert after.image(GONE) is not None
    assert names(after)[1:] == [GONE, LIVE]
    full.fail(PUBLIC)
    assert names(after)[0] == PUBLIC
    assert names(after)[2:] == expected[0][1:]
    assert counted(after) == {**expected[1], State.LIVE: 2}


def test_what_is_forgotten_is_in_no_listing(driver: LedgerDriver) -> None:
    seen = OpenImages(driver.connection, allow_all)
    driver.fail(PUBLIC)
    assert names(seen) == [PUBLIC]
    driver.remove(PUBLIC)  # never live, so nothing is kept of it
    assert driver.ledger.image(PUBLIC) is None
    assert names(seen) == []
    assert not counted(seen)
    assert not driver.connection.scard("cvmfs-webhook:unlived")
