"""The envelope of events that Distribution and GitLab send."""

import pytest

from tests.support.harness.notifications import DIGEST, HEADER_KINDS, event, read
from webhook.senders.notification import UnreadableNotification


@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_a_manifest_pushed_by_digest_has_no_tag(kind: str) -> None:
    child = event()
    del child["target"]["tag"]
    (one,) = read(kind, {"events": [child]})
    assert (one.tag, one.digest, one.problem) == (None, DIGEST, None)


@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_deletes_and_what_comes_later_are_read_too(kind: str) -> None:
    gone = {"id": "1", "action": "delete", "target": {"repository": "team/web"}}
    strange = event(action="consecrate")
    actions = [one.action for one in read(kind, {"events": [gone, strange]})]
    assert actions == ["delete", "other"]


@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_an_id_that_stands_twice_in_one_envelope_is_two_events(kind: str) -> None:
    events = read(kind, {"events": [event(action="pull"), event()]})
    assert [one.action for one in events] == ["pull", "push"]
    assert all(one.event_id == "320678d8" and one.is_id_unique for one in events)


@pytest.mark.parametrize("kind", HEADER_KINDS)
@pytest.mark.parametrize(
    "document", [{}, [], {"events": {}}, {"events": None}, 7, None]
)
def test_what_is_no_envelope_is_unreadable(kind: str, document: object) -> None:
    with pytest.raises(UnreadableNotification):
        read(kind, document)
