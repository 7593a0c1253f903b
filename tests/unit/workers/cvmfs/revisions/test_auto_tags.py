"""Tags that publishing sets by itself: at their times, and for their time."""

import time
from pathlib import Path

import pytest

from tests.support.repositories.garbage_collection import (
    IMAGE,
    collect,
    contents,
    findings,
    publish,
)
from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    is_mountpoint,
    keys,
    new_repository,
)
from workers.cvmfs import (
    AutoTags,
    LocalStorage,
    Repository,
    Tag,
    add_tag,
    roll_back,
)
from workers.cvmfs.garbage.retention import Retention
from workers.cvmfs.revisions.history import TRUNK, History
from workers.cvmfs.values.hash import ContentHash

HOUR = 3600
DAY = 24 * HOUR
HOURLY = AutoTags(keep_seconds=DAY, every_seconds=HOUR, most=1000)
EACH = AutoTags(keep_seconds=30 * DAY, every_seconds=0, most=1000)
NEVER_GO = AutoTags(keep_seconds=9999 * DAY, every_seconds=0, most=9999)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    new_repository(tmp_path)
    return tmp_path


def opened(base: Path, auto_tags: AutoTags | None) -> Repository:
    return Repository(
        FQRN,
        LocalStorage(base),
        keys(),
        is_mountpoint=is_mountpoint,
        auto_tags=auto_tags,
    )


def generic(repository: Repository) -> dict[str, int]:
    """Return the generic tags with their revisions, oldest first."""
    tags = reversed(repository.tags())
    return {tag.name: tag.revision for tag in tags if not tag.name.startswith(TRUNK)}


def name_at(moment: int) -> str:
    return time.strftime("generic-%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def test_without_being_asked_for_no_tag_is_set_and_none_goes(base: Path) -> None:
    publish(opened(base, EACH), b"one", now=NOW + 1)
    plain = opened(base, None)
    publish(plain, b"two", now=NOW + 20 * DAY)
    assert generic(plain) == {name_at(NOW + 1): 2}


def test_each_revision_has_its_tag_as_with_the_stock_tools(base: Path) -> None:
    repository = opened(base, EACH)
    publish(repository, b"one", now=NOW + 1)
    publish(repository, b"two", now=NOW + 2)
    publish(repository, b"two again", now=NOW + 2)  # the name is taken
    assert generic(repository) == {name_at(NOW + 1): 2, name_at(NOW + 2): 3}
    assert findings(base) == []


def test_what_changes_nothing_sets_no_tag(base: Path) -> None:
    repository = opened(base, EACH)
    publish(repository, b"one", now=NOW + 1)
    publish(repository, b"one", now=NOW + 2)
    assert list(generic(repository)) == [name_at(NOW + 1)]


def test_between_two_tags_lies_the_least_time(base: Path) -> None:
    repository = opened(base, HOURLY)
    moments = [NOW + 1, NOW + HOUR, NOW + HOUR + 1, NOW + 2 * HOUR, NOW + 3 * HOUR]
    for moment in moments:
        publish(repository, b"%d" % moment, now=moment)
    tagged = [NOW + 1, NOW + HOUR + 1, NOW + 3 * HOUR]
    assert list(generic(repository)) == [name_at(moment) for moment in tagged]


def test_tags_older_than_their_time_go_and_those_of_people_stay(base: Path) -> None:
    repository = opened(base, HOURLY)
    publish(repository, b"old", now=NOW + 1)
    for name in ("release", "generic-release", "generic-2025-01-01Tea"):
        add_tag(FQRN, LocalStorage(base), keys(), name, now=NOW + 1)
    publish(repository, b"younger", now=NOW + DAY)
    assert len(generic(repository)) == 5
    publish(repository, b"new", now=NOW + DAY + 2)
    assert set(generic(repository)) == {
        "generic-2025-01-01Tea",
        "generic-release",
        "release",
        name_at(NOW + DAY),
    }
    assert findings(base) == []


def test_tags_of_others_count_whatever_fraction_of_a_second_they_name(
    base: Path,
) -> None:
    publish(opened(base, None), b"old", now=NOW + 1)
    gateways = name_at(NOW + 1).replace("Z", ".123Z")
    add_tag(FQRN, LocalStorage(base), keys(), gateways, now=NOW + 1)
    repository = opened(base, HOURLY)
    publish(repository, b"soon", now=NOW + 60)
    assert list(generic(repository)) == [gateways]
    publish(repository, b"late", now=NOW + 2 * DAY)
    assert list(generic(repository)) == [name_at(NOW + 2 * DAY)]


def test_of_too_many_the_oldest_go(base: Path) -> None:
    repository = opened(base, AutoTags(keep_seconds=DAY, every_seconds=0, most=3))
    for number in range(1, 7):
        publish(repository, b"%d" % number, now=NOW + number)
    assert list(generic(repository).values()) == [5, 6, 7]


def test_collection_keeps_what_they_name_and_rolling_back_finds_it(base: Path) -> None:
    repository = opened(base, EACH)
    publish(repository, b"good", now=NOW + 1)
    for number in range(4):
        publish(opened(base, None), b"bad %d" % number, now=NOW + 2 + number)
    assert collect(base).deleted.objects > 4
    rolled = roll_back(FQRN, LocalStorage(base), keys(), name_at(NOW + 1), now=NOW + 9)
    assert rolled.revision == 7
    assert contents(repository.read())[IMAGE + b"/good"] == b"content of good"
    assert findings(base) == []
    # Once the tag has gone, so does the revision.
    short = AutoTags(keep_seconds=0, every_seconds=9999 * DAY, most=1)
    publish(opened(base, short), b"new", now=NOW + 10)
    publish(repository, b"newer", now=NOW + 11)
    done = collect(base, Retention(newest=1, seconds=0, grace_seconds=0))
    assert 2 in {one.revision for one in done.revisions_given_up}


@pytest.mark.slow
def test_a_long_history_is_pruned_as_a_short_one() -> None:
    history = History(None, FQRN)
    root = ContentHash.of(b"root")
    history.move_trunk(root, 1, 1, NOW)
    for number in range(3000):
        made = Tag("", root, 1, number, NOW + number)
        NEVER_GO.maintain(history, made)
    assert len(history.tags()) == 3001
    made = Tag("", root, 1, 3000, NOW + 3000)
    AutoTags(keep_seconds=1000, every_seconds=1, most=100).maintain(history, made)
    names = [tag.name for tag in history.tags()]
    assert len(names) == 101
    assert names[0] == name_at(NOW + 3000)
    history.close()
