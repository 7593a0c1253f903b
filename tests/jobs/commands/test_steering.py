"""Removing and restoring, as an operator types it and as a program asks for it."""

import pytest

from tests.support.harness.image_commands import NAME, ask, command, publish
from tests.support.harness.jobs import JobRunner
from tests.support.harness.ledger import D1, D2, D3, REFERENCE
from tests.support.harness.web_app import OPERATOR, WebApp
from tests.support.images.oci import Image, tar_of
from workers.ledger import (
    Delivery,
    Hint,
    Outcome,
    RunResult,
    State,
    Verdict,
    Wanted,
)


def test_a_name_is_removed_and_that_is_waited_for(
    runner: JobRunner, at_work: None
) -> None:
    publish(runner, b"first")
    answer = ask(runner, "remove", runner.reference(NAME), "--wait")
    assert (answer["state"], answer["live_digest"]) == ("removed", None)
    assert runner.file(NAME, "motd") is None
    again = command(runner, "remove", runner.reference(NAME), "--wait")
    assert again.exit_code == 0, again.output


def test_without_waiting_a_removal_is_queued(runner: JobRunner) -> None:
    publish(runner, b"first")
    result = command(runner, "remove", runner.reference(NAME))
    assert result.output == f"queued: remove {runner.reference(NAME)}\n"
    assert runner.services.front.queue is not None
    assert runner.run(NAME).outcome is Outcome.REMOVED


def test_a_mistyped_name_is_forgotten(runner: JobRunner, at_work: None) -> None:
    runner.want(NAME)
    runner.run(NAME)
    assert runner.image(NAME).state is State.FAILED
    answer = ask(runner, "remove", runner.reference(NAME), "--wait")
    assert answer == {"reference": runner.reference(NAME), "state": None}
    unknown = command(runner, "status", runner.reference(NAME))
    assert "never pushed" in unknown.stderr


@pytest.mark.parametrize("verb", ["remove", "cancel"])
def test_a_name_that_never_was_is_an_error(runner: JobRunner, verb: str) -> None:
    result = command(runner, verb, runner.reference(NAME))
    assert result.exit_code == 1
    assert "was never pushed or asked for" in result.stderr
    assert runner.ledger.image(runner.reference(NAME)) is None


def test_a_digest_cannot_be_removed(runner: JobRunner) -> None:
    result = command(runner, "remove", f"{runner.registry.host}/atlas/analysis@{D1}")
    assert result.exit_code == 2
    assert "no digest" in result.stderr


def test_what_waits_is_cancelled_and_what_is_live_stays(runner: JobRunner) -> None:
    publish(runner, b"first")
    name = runner.reference(NAME)
    nothing = command(runner, "cancel", name)
    assert nothing.output == f"nothing is done for {name}, and nothing waits\n"
    runner.want(NAME)
    assert command(runner, "cancel", name).output == f"cancelled: {name}\n"
    assert ask(runner, "cancel", name) == {"reference": name, "cancelled": False}
    assert runner.ledger.begin(name, worker="w") is None
    assert runner.file(NAME, "motd") == b"first"


def test_one_command_goes_back_to_the_one_before_and_forth_again(
    runner: JobRunner, at_work: None
) -> None:
    first, second = publish(runner, b"first"), publish(runner, b"second")
    for image in (first, second, first):
        runner.clock.passes(10)
        answer = ask(runner, "restore", runner.reference(NAME), "--previous", "--wait")
        assert (answer["state"], answer["live_digest"]) == ("live", image.digest)
    assert runner.file(NAME, "motd") == b"first"
    assert answer["restored_instead_of"] == answer["digest"] == second.digest


def test_after_a_removal_the_one_before_is_the_removed_one(
    runner: JobRunner, at_work: None
) -> None:
    image = publish(runner, b"first")
    command(runner, "remove", runner.reference(NAME), "--wait")
    answer = ask(runner, "restore", runner.reference(NAME), "--previous", "--wait")
    assert answer["live_digest"] == image.digest
    assert runner.file(NAME, "motd") == b"first"


def test_the_beginning_of_a_digest_is_enough(runner: JobRunner) -> None:
    first = publish(runner, b"first")
    publish(runner, b"second")
    result = command(runner, "restore", runner.reference(NAME), first.digest[:19])
    assert (
        result.output == f"queued: restore {runner.reference(NAME)} to {first.digest}\n"
    )
    runner.run(NAME)
    assert runner.image(NAME).live_digest == first.digest


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], 2, "either DIGEST or --previous"),
        (["--previous", D1], 2, "either DIGEST or --previous"),
        (["--previous"], 1, "nothing else was live before"),
        (["0123"], 1, "no digest of its history begin with '0123'"),
        ([""], 1, "several digests"),
    ],
)
def test_a_restoration_of_nothing_in_particular_is_an_error(
    runner: JobRunner, words: list[str], code: int, told: str
) -> None:
    publish(runner, b"first")
    if words == [""]:
        publish(runner, b"second")
    result = command(runner, "restore", runner.reference(NAME), *words)
    assert result.exit_code == code
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_cannot_be_restored_says_so_to_who_waits(
    runner: JobRunner, at_work: None
) -> None:
    publish(runner, b"first")
    result = command(runner, "restore", runner.reference(NAME), D3, "--wait")
    assert result.exit_code == 1
    assert "cannot be restored" in result.stderr
    assert runner.file(NAME, "motd") == b"first"


def test_what_the_policy_refuses_is_not_restored(runner: JobRunner) -> None:
    publish(runner, b"first")
    runner.write_policy(f"version: 1\nrules:\n  - deny: {runner.registry.host}/**\n")
    result = command(runner, "restore", runner.reference(NAME), D1)
    assert result.exit_code == 3
    assert not runner.ledger.next_due()


def push(runner: JobRunner) -> Image:
    """Put an image into the registry; nobody is told."""
    repository, _, tag = NAME.partition(":")
    return runner.registry.push_image(repository, tag, [tar_of({"motd": b"at last"})])


def fail(runner: JobRunner, name: str = NAME) -> str:
    """Let a run come to nothing; return the whole name."""
    runner.want(name)
    runner.run(name)
    assert runner.image(name).state is State.FAILED
    return runner.reference(name)


def test_what_failed_is_tried_again_at_once(runner: JobRunner, at_work: None) -> None:
    name = fail(runner)
    assert command(runner, "retry", name).output == f"queued: retry {name}\n"
    again = command(runner, "retry", name)
    assert (again.exit_code, again.output) == (
        0,
        f"nothing to retry: {name} is queued\n",
    )
    runner.run(NAME)
    assert command(runner, "retry", name, "--wait").exit_code == 1
    publish(runner, b"first")
    assert ask(runner, "retry", name) == {"reference": name, "decision": "ignored"}


def test_who_waits_for_a_retry_is_told_how_it_ended(
    runner: JobRunner, at_work: None
) -> None:
    name = fail(runner)
    push(runner)
    answer = ask(runner, "retry", name, "--wait")
    assert (answer["state"], answer["last_run"]["source"]) == ("live", "operator")


def test_a_removal_that_failed_is_tried_again_as_a_removal(runner: JobRunner) -> None:
    publish(runner, b"first")
    name = runner.reference(NAME)
    command(runner, "remove", name)
    lease = runner.ledger.begin(name, worker="w")
    assert lease is not None
    runner.ledger.finish(lease, RunResult(Outcome.FAILED, D2, reason="disk full"))
    assert command(runner, "retry", name).exit_code == 0
    assert runner.run(NAME).outcome is Outcome.REMOVED


def test_all_that_failed_is_tried_again_but_what_was_cancelled(
    runner: JobRunner,
) -> None:
    names = [fail(runner, f"atlas/analysis:v{number}") for number in (1, 2, 3)]
    publish(runner, b"first")
    runner.want("atlas/live:v1")
    command(runner, "cancel", runner.reference("atlas/live:v1"))
    elsewhere = ask(runner, "retry", "--failed", "--registry", "docker.io")
    assert elsewhere == {"queued": []}
    found = ask(runner, "retry", "--failed", "--registry", runner.registry.host)
    assert sorted(found["queued"]) == names[1:]
    none = command(runner, "retry", "--failed")
    assert none.output == "nothing to retry: nothing has failed that is allowed\n"
    runner.run("atlas/analysis:v2")
    assert command(runner, "retry", "--failed").output == f"queued: retry {names[1]}\n"


def test_a_policy_that_refuses_what_failed_is_heard(runner: JobRunner) -> None:
    name = fail(runner)
    runner.write_policy(f"version: 1\nrules:\n  - deny: {runner.registry.host}/**\n")
    refused = command(runner, "retry", name)
    assert (refused.exit_code, refused.stderr[:9]) == (3, "refused: ")
    assert ask(runner, "retry", "--failed") == {"queued": []}


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], 2, "either REFERENCE or --failed"),
        (["a.b/c:d", "--failed"], 2, "either REFERENCE or --failed"),
        (["a.b/c:d", "--registry", "a.b"], 2, "--registry goes with --failed"),
        (["--failed", "--wait"], 2, "--registry goes with --failed"),
        (["--failed", "--registry", "here"], 2, "give a full host name"),
        (["a.b/c:d"], 1, "was never pushed or asked for"),
    ],
)
def test_a_retry_of_nothing_in_particular_is_an_error(
    runner: JobRunner, words: list[str], code: int, told: str
) -> None:
    runner.write_policy("version: 1\nrules:\n  - allow: a.b/**\n")
    result = command(runner, "retry", *words)
    assert (result.exit_code, told in result.stderr) == (code, True)
    assert result.stderr.count("\n") == 1


def test_a_delivery_is_decided_again(runner: JobRunner) -> None:
    name = runner.reference(NAME)
    runner.write_policy("version: 1\nrules: []\n")
    refused = [
        Wanted(name, Verdict.REFUSED, "no rule", Hint(D1, "local", event_id="1")),
        Wanted(None, Verdict.IGNORED, "names no tag", action="delete"),
        Wanted("not a name", Verdict.REFUSED, "what is that"),
    ]
    runner.ledger.accept(Delivery("d1", "local", runner.clock()), refused)
    again = command(runner, "replay", "d1")
    assert (again.exit_code, again.output[:9]) == (3, "refused: ")
    runner.allow()
    image = push(runner)
    (answer,) = ask(runner, "replay", "d1")["images"]
    assert (answer["reference"], answer["decision"]) == (name, "queued")
    assert runner.run(NAME).source == "local"
    assert runner.image(NAME).live_digest == image.digest
    assert command(runner, "replay", "d1").exit_code == 0
    unknown = command(runner, "replay", "d2")
    assert (unknown.exit_code, unknown.stderr) == (
        1,
        "error: no delivery 'd2' is kept\n",
    )
    runner.ledger.accept(Delivery("d3", "local", runner.clock()), refused[1:])
    assert "names no image" in command(runner, "replay", "d3").output


# Over HTTP.


def test_the_page_and_the_api_tell_which_digest_was_live_when(web: WebApp) -> None:
    for digest in (D1, D2):
        web.driver.clock.passes(60)
        web.driver.make_live(digest)
    found = web.client.get(f"/api/v1/images/{REFERENCE}").get_json()
    assert [live["digest"] for live in found["lives"]] == [D2, D1]
    page = web.client.get(f"/images/{REFERENCE}").text
    assert "What was live when" in page
    lives = page.partition('data-part="lives"')[2].partition("</section>")[0]
    assert lives.index(D2) < lives.index(D1)
    assert "to now" in lives


def test_the_operator_cancels_over_http_and_nobody_else(web: WebApp) -> None:
    web.driver.push()
    path = f"/api/v1/images/{REFERENCE}/cancel"
    assert web.client.post(path).status_code == 401
    answer = web.client.post(path, headers=OPERATOR)
    assert answer.get_json() == {"reference": REFERENCE, "cancelled": True}
    assert web.driver.image().state is State.FAILED


def test_over_http_a_name_that_never_was_is_not_there(web: WebApp) -> None:
    path = f"/api/v1/images/{REFERENCE}"
    assert web.client.delete(path, headers=OPERATOR).status_code == 404
    assert web.client.post(f"{path}/cancel", headers=OPERATOR).status_code == 404


def test_the_page_of_what_was_restored_says_so(web: WebApp) -> None:
    web.driver.make_live(D2)
    web.driver.push(D2)
    lease = web.driver.begin()
    web.driver.ledger.finish(
        lease, RunResult(Outcome.PUBLISHED, digest=D1, restored_instead_of=D2)
    )
    page = web.client.get(f"/images/{REFERENCE}").text
    assert "Restored" in page
    assert D1 in page
    assert D2 in page
