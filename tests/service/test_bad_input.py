"""Bad input, whoever sends it: refused cleanly, and the next image still works.

One service for the whole module. All bad images are pushed at its start, good ones
among them; each test then waits for one to end. What must hold in the end, whatever
happened, is checked when the service ends; see
``tests/support/harness/service_with_registry.py``.
"""

import contextlib
import json
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import requests

from tests.support.harness.service import OPERATOR, SECRET
from tests.support.harness.service_with_registry import (
    ServiceWithRegistry,
    checked_reason,
    run_service_with_registry,
)
from tests.support.images.bad_images import BAD_IMAGES, POLICY, TAG
from tests.support.images.oci import build_image, tar_of

GOOD_EVERY = 8
HUNDRED_MB = 100_000_000
COSIGN_TAG = f"sha256-{'a' * 64}.sig"
PASSING = {
    "answers-500": ("answered 500",),
    "answers-429": ("answered 429",),
    "breaks": ("broke the connection",),
    "hangs": ("does not answer in time",),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceWithRegistry]:
    folder = tmp_path_factory.mktemp("bad-input")
    with run_service_with_registry(folder, POLICY) as made:
        _push_what_passes(made)
        for number, (name, case) in enumerate(BAD_IMAGES.items()):
            repository = f"bad/{name}"
            case.put(made.registry, repository)
            answer = made.notify(repository, TAG)
            assert answer.ok, answer.text
            if number % GOOD_EVERY == 0:
                made.push_good(f"beside:{number}")
        yield made


def _push_what_passes(service: ServiceWithRegistry) -> None:
    registry = service.registry
    registry.hang("HEAD", "/passing/hangs/manifests", times=1)
    registry.reset("HEAD", "/passing/breaks/manifests", times=2)  # once is repeated
    registry.fail("HEAD", "/passing/answers-500/manifests", status=500, times=1)
    registry.fail(
        "HEAD",
        "/passing/answers-429/manifests",
        status=429,
        headers={"Retry-After": "7"},
        times=1,
    )
    for name in PASSING:
        service.push(f"passing/{name}:{TAG}")


# Images.


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_ends_with_a_reason_that_its_author_understands(
    service: ServiceWithRegistry, name: str
) -> None:
    case = BAD_IMAGES[name]
    reference = service.reference(f"bad/{name}:{TAG}")

    image = service.process.wait_until(reference, "failed", "refused", "live")

    assert image["state"] == case.state, image
    reason = checked_reason(image["reason"])
    for words in case.words:
        assert words in reason
    assert image["live_digest"] is None
    assert (image["next_try"] is not None) == case.may_pass, reason
    url = f"{service.process.url}/images/{reference}"
    assert requests.get(url, headers=OPERATOR, timeout=10).ok


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_retried_and_goes_live_by_itself(
    service: ServiceWithRegistry, name: str
) -> None:
    image = service.wait_until_live(service.reference(f"passing/{name}:{TAG}"))
    runs = image["runs"]
    assert isinstance(runs, list)
    assert [run["outcome"] for run in runs] == ["published", "failed"]
    reason = checked_reason(runs[1]["reason"])
    for words in PASSING[name]:
        assert words in reason
    assert runs[1]["next_try"] <= runs[0]["started"]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_retry_after_is_waited_for(service: ServiceWithRegistry) -> None:
    image = service.wait_until_live(service.reference(f"passing/answers-429:{TAG}"))
    runs = image["runs"]
    assert isinstance(runs, list)
    heads = service.registry.seen("HEAD", "/passing/answers-429/manifests")
    assert heads[0].status == 429
    # Times are shown in whole seconds.
    waited = _moment(runs[0]["started"]) - _moment(runs[1]["ended"])
    assert waited >= timedelta(seconds=6)


def test_a_registry_where_nobody_is_is_asked_again(
    service: ServiceWithRegistry,
) -> None:
    reference = f"{service.dead}/atlas/analysis:v1"
    assert service.ask(reference).status_code == 202
    image = service.process.wait_until(reference, "failed")
    assert "refuses connections" in checked_reason(image["reason"])
    assert image["next_try"] is not None


def test_an_image_that_only_we_can_pull_is_published_where_the_rule_says_so(
    service: ServiceWithRegistry,
) -> None:
    image = build_image([tar_of({"private": b"but allowed"})])
    service.registry.make_private("good/private")
    service.registry.hold_image("good/private", TAG, image)
    service.tell(f"good/private:{TAG}", image)
    service.wait_until_live(service.reference(f"good/private:{TAG}"))


@pytest.mark.parametrize("tag", [COSIGN_TAG, f"sha256-{'b' * 64}"])
def test_a_signature_beside_an_image_is_no_image(
    service: ServiceWithRegistry, tag: str
) -> None:
    answer = service.notify("good/last", tag)
    assert answer.status_code == 200
    (told,) = answer.json()["images"]
    assert told["decision"] == "refused"
    assert "signature" in checked_reason(told["reason"])


# Names.


@pytest.mark.parametrize(
    ("repository", "tag"),
    [
        ("../../etc", "x"),
        ("a/../../etc", "x"),
        ("/etc/passwd", "x"),
        ("Bad/Name", "x"),
        ("a" * 300, "x"),
        ("good/name", "../x"),
        ("good/name", "x" * 129),
        ("good/na\nme", "x"),
    ],
)
def test_a_name_that_is_none_is_refused_to_the_one_who_sent_it(
    service: ServiceWithRegistry, repository: str, tag: str
) -> None:
    answer = service.notify(repository, tag)
    assert answer.status_code == 200
    (told,) = answer.json()["images"]
    assert told["decision"] == "refused"
    assert told["reference"] is None
    checked_reason(told["reason"])


def test_an_operator_who_mistypes_a_name_is_told_how_it_is_written(
    service: ServiceWithRegistry,
) -> None:
    answer = service.ask("../../etc:x")
    assert answer.status_code == 400
    assert "'..'" in checked_reason(answer.json()["error"])
    done = service.process.run_raw("publish", "../../etc:x")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


# Notifications.


def test_whoever_is_not_known_learns_nothing(service: ServiceWithRegistry) -> None:
    url, wrong = service.process.url, {"Authorization": "Bearer wrong"}
    document: dict[str, object] = {"events": []}
    strangers = [
        requests.post(f"{url}/hooks/{path}", json=document, headers=headers, timeout=30)
        for path in ("local", "nobody", f"local/{SECRET}", "local/wrong")
        for headers in ({}, wrong)
    ]
    assert {(each.status_code, each.text) for each in strangers} == {
        (404, strangers[0].text)
    }
    assert service.post(document).status_code == 200


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "stranger"])
def test_a_body_of_100_mb_is_refused_before_it_has_come(
    service: ServiceWithRegistry,
    is_known: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    host, _, port = service.process.listen.partition(":")
    secret = SECRET if is_known else "wrong"
    head = (
        f"POST /hooks/local HTTP/1.1\r\nHost: {host}\r\n"
        f"Authorization: Bearer {secret}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {HUNDRED_MB}\r\n\r\n"
    )
    sent = 0
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode())
        connection.settimeout(1.0)
        block = b" " * 100_000
        with contextlib.suppress(OSError):
            while sent < HUNDRED_MB:
                sent += connection.send(block)
        connection.settimeout(30)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            answer = connection.recv(65536)
    assert sent < HUNDRED_MB
    # The kernel may throw the answer away with the rest of the connection.
    status = b" 200 " if is_known else b" 404 "
    assert not answer or status in answer.splitlines()[0]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 10_000 + b"]" * 10_000,
        b'{"events": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
        b"{",
        b"\xff\xfe",
        b'{"events": 1}',
        b'{"events": [NaN]}',
        b'{"events": [1e999999]}',
        b"null",
        b"",
    ],
    ids=lambda body: repr(body[:16]),
)
def test_a_body_that_is_no_notification_is_refused(
    service: ServiceWithRegistry, body: bytes
) -> None:
    endpoint = service.process.endpoint
    headers = {**endpoint.headers, "Content-Type": "application/json"}
    answer = requests.post(endpoint.url, data=body, headers=headers, timeout=30)
    # With a 2xx, for the registry would send it again for ever.
    assert answer.status_code == 200
    (told,) = answer.json()["images"]
    assert told["decision"] == "refused"
    checked_reason(told["reason"])


def test_an_event_that_is_malformed_takes_no_other_along(
    service: ServiceWithRegistry,
) -> None:
    image = service.registry.push_image("good/neighbour", TAG, [tar_of({"a": b"b"})])
    target = {"repository": "good/neighbour", "tag": TAG, "digest": image.digest}
    good = {"id": "1", "action": "push", "target": target}
    answer = service.post({"events": [{"action": 7}, good, {"target": None}]})
    assert answer.status_code == 202
    decisions = [each["decision"] for each in answer.json()["images"]]
    assert decisions == ["refused", "queued", "refused"]
    service.wait_until_live(service.reference(f"good/neighbour:{TAG}"))


# What is told of all of it.


def test_the_command_line_tells_the_same_as_the_api(
    service: ServiceWithRegistry,
) -> None:
    for name, case in BAD_IMAGES.items():
        reference = service.reference(f"bad/{name}:{TAG}")
        service.process.wait_until(reference, case.state)
    told = json.loads(service.process.run("status", "--json"))
    reasons = {image["reference"]: image["reason"] for image in told}
    for name, case in BAD_IMAGES.items():
        reason = checked_reason(reasons[service.reference(f"bad/{name}:{TAG}")])
        assert all(words in reason for words in case.words)


def test_steering_needs_the_operator(service: ServiceWithRegistry) -> None:
    url = f"{service.process.url}/api/v1/images"
    body = {"reference": service.reference("good/last:1")}
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = requests.post(url, json=body, headers=headers, timeout=30)
        assert answer.status_code in {401, 403}
    wrong: list[object] = [{}, {"reference": 7}, [], {"reference": "x", "more": 1}]
    for bad in wrong:
        answer = requests.post(url, json=bad, headers=OPERATOR, timeout=30)
        assert answer.status_code == 400, answer.text
        checked_reason(answer.json()["error"])
