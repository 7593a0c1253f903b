"""One event, normalised: names, times and identities that others chose."""

import pytest

from tests.support.harness.notifications import HEADER_KINDS, event, read


@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_a_time_in_nanoseconds_with_an_offset_is_read(kind: str) -> None:
    def time(text: object) -> float | None:
        return read(kind, {"events": [event(timestamp=text)]})[0].time

    assert time("2026-02-03T10:11:12.861402053+01:00") == 1770109872.861402
    assert time("2026-02-03T09:11:12Z") == 1770109872.0
    assert time("2026-02-03T09:11:12") == 1770109872.0
    for text in ("yesterday", "", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z"):
        assert time(text) is None


@pytest.mark.parametrize("kind", HEADER_KINDS)
@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (event(target={"repository": "../../etc"}), "repository name '../../etc'"),
        (event(target={"repository": "Team/web"}), "repository name 'Team/web'"),
        (event(target={"repository": "team/web\n"}), r"repository name 'team/web\n'"),
        (event(target={"repository": "a\0b"}), r"repository name 'a\x00b'"),
        (event(target={"repository": "a\ud800b"}), r"repository name 'a\ud800b'"),
        (event(target={"tag": "../../etc:x"}), "tag '../../etc:x' is not valid"),
        (event(target={"tag": "x" * 129}), "is not valid: use at most 128"),
        (event(target={"tag": "٣"}), "is not valid: use at most 128"),
        (event(target={"digest": "sha256:abc"}), "digest 'sha256:abc' is not valid"),
        (event(target={"tag": 1}), "target.tag: must be text"),
        (event(target={"repository": None}), "target.repository: must be text"),
        (event(action=None), "action: must be text"),
        ({"action": "push"}, "target: is missing"),
        ("event", "event: must be keys with values, not 'event'"),
        (None, "event: must be keys with values, not nothing"),
        ([[]], "event: must be keys with values, not a list"),
    ],
)
def test_one_bad_event_is_refused_and_its_neighbours_are_kept(
    kind: str, bad: object, told: str
) -> None:
    first, second, third = read(kind, {"events": [event(id="1"), bad, event(id="3")]})
    assert (first.event_id, third.event_id) == ("1", "3")
    assert first.problem is None
    assert third.problem is None
    assert second.problem is not None
    assert told in second.problem
    assert second.reference is None
    assert all(text.isprintable() for text in (second.repository, second.tag or ""))


@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_a_strange_id_is_named_by_its_hash(kind: str) -> None:
    for strange in ("x" * 200, "a\nb", "\ud800", "ünique"):
        (one,) = read(kind, {"events": [event(id=strange)]})
        assert one.event_id is not None
        assert len(one.event_id) == 64
    (one,) = read(kind, {"events": [event(id="")]})
    assert one.event_id is None


@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_a_name_for_people_is_made_printable_and_short(kind: str) -> None:
    (one,) = read(
        kind, {"events": [event(actor={"name": "a\x1b[2J\ud800" + "b" * 999})]}
    )
    assert one.actor is not None
    assert one.actor.startswith("a\ufffd[2J\ufffdb")
    assert len(one.actor) == 255
