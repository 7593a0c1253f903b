"""What is tried again, when, and how often."""

import time

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.harness.steering import NAME, push
from tests.support.images.oci import build_image, digest_of, tar_of
from workers import jobs
from workers.ledger import Outcome, State
from workers.reference import Reference

FIRST = [tar_of({"etc/motd": b"first"})]
LAYER = digest_of(build_image(FIRST).layers[0].blob)


def test_what_may_pass_is_tried_again_ever_later_and_not_for_ever(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.registry.fail("HEAD", "/manifests/", status=503)
    delays = []
    while True:
        before = time.time()
        run = runner.run(NAME)
        assert run.outcome is Outcome.FAILED
        assert "answered 503" in (run.reason or "")
        if run.next_try is None:
            break
        delays.append(round(run.next_try - before))
        runner.wait_for_next_try(NAME)
    assert delays == [5, 15, 45, 135, 405, 1215, 1800, 1800, 1800]
    record = runner.image(NAME)
    assert "given up after 10 attempts" in (record.reason or "")
    assert (record.state, record.next_try) == (State.FAILED, None)


def test_what_has_passed_is_published_at_the_next_try(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.registry.fail("HEAD", "/manifests/", status=500, times=1)
    assert runner.run(NAME).outcome is Outcome.FAILED
    assert runner.services.front.queue.depth() == 0
    told = jobs.run_job(runner.services, Reference.parse(runner.reference(NAME)))
    assert "nothing is owed" in told  # not yet
    runner.wait_for_next_try(NAME)
    assert runner.ledger.owed(set())
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


@pytest.mark.parametrize(("asked", "granted"), [(120, 120), (1, 60), (10**6, 21600)])
def test_a_registry_that_says_when_to_come_back_is_heeded(
    runner: JobRunner, asked: int, granted: int
) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    headers = {"Retry-After": str(asked)}
    runner.registry.fail("HEAD", "/manifests/", status=429, headers=headers)
    before = time.time()
    run = runner.run(NAME)
    assert run.next_try is not None
    assert round(run.next_try - before) == granted


def test_a_window_of_a_rate_limit_is_waited_for(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    headers = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600"}
    runner.registry.fail("HEAD", "/manifests/", status=429, headers=headers, times=1)
    before = time.time()
    run = runner.run(NAME)
    assert run.next_try is not None
    assert round(run.next_try - before) == 6 * 3600


@pytest.mark.parametrize(
    ("status", "headers"), [(429, {}), (403, {"Retry-After": "30"})]
)
def test_a_registry_that_has_had_enough_of_us_uses_up_no_attempt(
    runner: JobRunner, status: int, headers: dict[str, str]
) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.registry.fail("HEAD", "/manifests/", status=status, headers=headers)
    for _ in range(12):
        run = runner.run(NAME)
        assert (run.attempt, run.next_try is None) == (1, False)
        runner.wait_for_next_try(NAME)
    runner.registry.mend()
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


@pytest.mark.parametrize(
    ("method", "path", "status", "headers", "body"),
    [
        ("", "/manifests/", 400, {}, b""),
        ("HEAD", "/manifests/", 401, {}, b""),
        ("HEAD", "/manifests/", 401, {"WWW-Authenticate": 'Bearer realm="'}, b""),
        ("HEAD", "/manifests/", 403, {}, b""),
        ("HEAD", "/manifests/", 404, {"Content-Type": "text/html"}, b""),
        ("HEAD", "/manifests/", 421, {}, b""),
        ("HEAD", "/manifests/", 200, {"Content-Type": "text/html"}, b""),
        ("", "/manifests/v1", 200, {"Content-Type": "text/plain"}, b"back at noon"),
        ("GET", "/blobs/", 200, {"Content-Type": "text/html"}, b"<h1>Soon</h1>"),
        ("GET", "/blobs/", 404, {}, b""),
        ("GET", f"/blobs/{LAYER}", 404, {}, b""),
        ("GET", "/manifests/", 404, {}, b""),
    ],
)
def test_trouble_around_an_image_is_tried_again(
    runner: JobRunner,
    method: str,
    path: str,
    status: int,
    headers: dict[str, str],
    body: bytes,
) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.registry.fail(method, path, status=status, headers=headers, body=body)
    run = runner.run(NAME)
    assert (run.outcome, run.next_try is None) == (Outcome.FAILED, False), run.reason
    runner.registry.mend()
    runner.wait_for_next_try(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED


def test_a_tag_that_moves_while_it_is_read_is_resolved_anew(runner: JobRunner) -> None:
    old = push(runner, FIRST)
    new = build_image([tar_of({"etc/motd": b"second"})])

    def move() -> None:
        runner.registry.hold_image("atlas/analysis", "v1", new)
        runner.registry.fail("GET", f"/manifests/{old.digest}", status=404)

    runner.when_registry_is_asked("/manifests/v1", move, method="HEAD")
    runner.want(NAME)
    run = runner.run(NAME)
    assert (run.digest, run.next_try is None) == (old.digest, False)
    runner.wait_for_next_try(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
    assert runner.image(NAME).live_digest == new.digest


def test_what_cannot_pass_is_not_tried_again(runner: JobRunner) -> None:
    runner.want(NAME)
    run = runner.run(NAME)
    assert (run.outcome, run.next_try) == (Outcome.FAILED, None)
    assert "answered 404" in (run.reason or "")
    assert runner.ledger.next_due() is None


def test_a_blob_that_is_altered_on_its_way_is_not_fetched_for_ever(
    runner: JobRunner,
) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.registry.corrupt("/blobs/")
    for _ in range(2):
        assert runner.run(NAME).next_try is not None
        runner.wait_for_next_try(NAME)
    run = runner.run(NAME)
    assert "has other content" in (run.reason or "")
    assert run.next_try is None


def test_a_new_push_forgets_the_failures_of_the_old_one(runner: JobRunner) -> None:
    push(runner, FIRST)
    runner.want(NAME)
    runner.registry.fail("HEAD", "/manifests/", status=500, times=1)
    runner.run(NAME)
    runner.want(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
