"""The notifications of Docker Hub."""

from typing import Any

import pytest

from tests.support.harness.notifications import INDEX, read, source
from webhook.senders import SENDERS, IncomingRequest
from webhook.senders.notification import UnreadableNotification


def hub(**push: Any) -> dict[str, Any]:
    repo_name = push.pop("repo_name", "acme/web")
    return {"push_data": push, "repository": {"repo_name": repo_name}}


def test_an_official_image_of_docker_hub_gets_its_library() -> None:
    (one,) = read("dockerhub", hub(repo_name="busybox", tag="1"))
    assert one.reference == "docker.io/library/busybox:1"


@pytest.mark.parametrize(
    ("pushed_at", "time"),
    [
        (1760000000, 1760000000.0),
        (1.417566161e09, 1417566161.0),
        (1760000000.5, 1760000000.5),
        (10**400, None),
        (1760000000000, None),
        (-1, None),
        (0, None),
        ("1760000000", None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
def test_a_time_of_docker_hub_is_a_number_of_seconds_or_none(
    pushed_at: object, time: float | None
) -> None:
    (one,) = read("dockerhub", hub(tag="1", pushed_at=pushed_at))
    assert one.time == time
    assert one.problem is None


def test_a_push_to_docker_hub_may_lack_its_tag() -> None:
    (one,) = read("dockerhub", hub(images=None))
    assert (one.tag, one.reference, one.problem) == (None, None, None)
    assert read("dockerhub", hub(tag=None)) == [one]


def test_docker_hub_names_events_by_what_they_say_and_never_as_unique() -> None:
    (one,) = read("dockerhub", hub(tag="1", pushed_at=1760000000))
    (again,) = read("dockerhub", hub(tag="1", pushed_at=1.76e9, pusher="x"))
    (other,) = read("dockerhub", hub(tag="1", pushed_at=1760000001))
    assert one.event_id == again.event_id != other.event_id
    assert not one.is_id_unique


def test_the_media_type_that_docker_hub_tells_is_kept() -> None:
    (one,) = read("dockerhub", hub(tag="1", media_type=INDEX))
    assert one.media_type == INDEX


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], "document: must be keys with values, not a list"),
        ({}, "push_data: is missing"),
        (hub(tag=1), "push_data.tag: must be text, not 1"),
        (hub(repo_name=7), "repository.repo_name: must be text, in quotes, not 7"),
        (hub(repo_name=""), "repository.repo_name: must not be empty"),
        ({"push_data": None, "repository": {}}, "push_data: must be keys with values"),
    ],
)
def test_a_body_that_docker_hub_never_sends_is_unreadable(
    document: object, told: str
) -> None:
    with pytest.raises(UnreadableNotification) as caught:
        read("dockerhub", document)
    assert told in str(caught.value)
    assert caught.value.status == 400


def test_docker_hub_proves_itself_by_the_path_alone() -> None:
    hub = SENDERS["dockerhub"]
    assert hub.authenticate(IncomingRequest({}, "s3cret"), source("dockerhub"))
    for request in (
        IncomingRequest({}),
        IncomingRequest({}, ""),
        IncomingRequest({}, "s3cret/"),
        IncomingRequest({}, "s3cre\xe9"),
        IncomingRequest({}, "\udce9\ufffd"),
        IncomingRequest({"authorization": "Bearer s3cret"}),
        IncomingRequest({}, body=b'{"secret": "s3cret"}'),
    ):
        assert not hub.authenticate(request, source("dockerhub"))
