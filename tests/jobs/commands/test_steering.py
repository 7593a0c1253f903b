"""Removing and restoring, as an operator types it and as a program asks for it."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.harness.jobs import Workshop
from tests.support.harness.ledger import D1, D2, D3, REFERENCE
from tests.support.harness.web_app import Site
from tests.support.images.oci import Image, tar_of
from webhook.cli import main
from workers.jobs import run_job
from workers.ledger import Outcome, State
from workers.reference import Reference

NAME = "atlas/analysis:v1"


@pytest.fixture
def at_work(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a job run whenever a command waits."""

    def work(_seconds: float) -> None:
        run_job(shop.services, Reference.parse(shop.reference(NAME)))

    monkeypatch.setattr("webhook.commands.images.time.sleep", work)


def command(shop: Workshop, *words: str) -> Result:
    verb, *rest = words
    return CliRunner().invoke(main, [verb, *rest, "--config", str(shop.config)])


def ask(shop: Workshop, *words: str) -> Any:
    result = command(shop, *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def publish(shop: Workshop, text: bytes) -> Image:
    repository, _, tag = NAME.partition(":")
    image = shop.registry.push_image(repository, tag, [tar_of({"motd": text})])
    shop.clock.passes(10)
    shop.publish(NAME)
    return image


def test_a_name_is_removed_and_that_is_waited_for(
    shop: Workshop, at_work: None
) -> None:
    publish(shop, b"first")
    answer = ask(shop, "remove", shop.reference(NAME), "--wait")
    assert (answer["state"], answer["live_digest"]) == ("removed", None)
    assert shop.file(NAME, "motd") is None
    again = command(shop, "remove", shop.reference(NAME), "--wait")
    assert again.exit_code == 0, again.output


def test_without_waiting_a_removal_is_queued(shop: Workshop) -> None:
    publish(shop, b"first")
    result = command(shop, "remove", shop.reference(NAME))
    assert result.output == f"queued: remove {shop.reference(NAME)}\n"
    assert shop.services.front.queue is not None
    assert shop.run(NAME).outcome is Outcome.REMOVED


def test_a_mistyped_name_is_forgotten(shop: Workshop, at_work: None) -> None:
    shop.want(NAME)
    shop.run(NAME)
    assert shop.image(NAME).state is State.FAILED
    answer = ask(shop, "remove", shop.reference(NAME), "--wait")
    assert answer == {"reference": shop.reference(NAME), "state": None}
    unknown = command(shop, "status", shop.reference(NAME))
    assert "never pushed" in unknown.stderr


def test_a_digest_cannot_be_removed(shop: Workshop) -> None:
    result = command(shop, "remove", f"{shop.registry.host}/atlas/analysis@{D1}")
    assert result.exit_code == 2
    assert "no digest" in result.stderr


def test_one_command_goes_back_to_the_one_before_and_forth_again(
    shop: Workshop, at_work: None
) -> None:
    first, second = publish(shop, b"first"), publish(shop, b"second")
    for image in (first, second, first):
        shop.clock.passes(10)
        answer = ask(shop, "restore", shop.reference(NAME), "--previous", "--wait")
        assert (answer["state"], answer["live_digest"]) == ("live", image.digest)
    assert shop.file(NAME, "motd") == b"first"
    assert answer["restored_instead_of"] == answer["digest"] == second.digest


def test_after_a_removal_the_one_before_is_the_removed_one(
    shop: Workshop, at_work: None
) -> None:
    image = publish(shop, b"first")
    command(shop, "remove", shop.reference(NAME), "--wait")
    answer = ask(shop, "restore", shop.reference(NAME), "--previous", "--wait")
    assert answer["live_digest"] == image.digest
    assert shop.file(NAME, "motd") == b"first"


def test_the_beginning_of_a_digest_is_enough(shop: Workshop) -> None:
    first = publish(shop, b"first")
    publish(shop, b"second")
    result = command(shop, "restore", shop.reference(NAME), first.digest[:19])
    assert (
        result.output == f"queued: restore {shop.reference(NAME)} to {first.digest}\n"
    )
    shop.run(NAME)
    assert shop.image(NAME).live_digest == first.digest


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
    shop: Workshop, words: list[str], code: int, told: str
) -> None:
    publish(shop, b"first")
    if words == [""]:
        publish(shop, b"second")
    result = command(shop, "restore", shop.reference(NAME), *words)
    assert result.exit_code == code
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_cannot_be_restored_says_so_to_who_waits(
    shop: Workshop, at_work: None
) -> None:
    publish(shop, b"first")
    result = command(shop, "restore", shop.reference(NAME), D3, "--wait")
    assert result.exit_code == 1
    assert "cannot be restored" in result.stderr
    assert shop.file(NAME, "motd") == b"first"


def test_what_the_policy_refuses_is_not_restored(shop: Workshop) -> None:
    publish(shop, b"first")
    shop.write_policy(f"version: 1\nrules:\n  - deny: {shop.registry.host}/**\n")
    result = command(shop, "restore", shop.reference(NAME), D1)
    assert result.exit_code == 3
    assert not shop.ledger.next_due()


def test_the_status_tells_which_digest_was_live_when(
    shop: Workshop, at_work: None
) -> None:
    images = [publish(shop, text) for text in (b"first", b"second")]
    command(shop, "remove", shop.reference(NAME), "--wait")
    lives = ask(shop, "status", shop.reference(NAME))["lives"]
    digests = [image.digest for image in images]
    assert [live["digest"] for live in lives] == [None, *reversed(digests)]
    assert [live["revision"] for live in lives] == [None, 3, 2]
    lines = command(shop, "status", shop.reference(NAME)).output.splitlines()
    told = [line for line in lines if line.startswith("  live 2")]
    assert [line.split()[-3] for line in told] == [d[:19] for d in reversed(digests)]
    assert "now" not in "".join(told)


# Over HTTP.


def test_the_page_and_the_api_tell_which_digest_was_live_when(site: Site) -> None:
    for digest in (D1, D2):
        site.bench.clock.passes(60)
        site.bench.make_live(digest)
    found = site.client.get(f"/api/v1/images/{REFERENCE}").get_json()
    assert [live["digest"] for live in found["lives"]] == [D2, D1]
    page = site.client.get(f"/images/{REFERENCE}").text
    assert "What was live when" in page
    lives = page.partition('data-part="lives"')[2].partition("</section>")[0]
    assert lives.index(D2) < lives.index(D1)
    assert "to now" in lives


def test_the_page_of_what_was_restored_says_so(site: Site) -> None:
    site.bench.make_live(D2)
    site.bench.push(D2)
    lease = site.bench.begin()
    site.bench.ledger.finish(lease, Outcome.PUBLISHED, digest=D1, held=D2)
    page = site.client.get(f"/images/{REFERENCE}").text
    assert "Restored" in page
    assert D1 in page
    assert D2 in page
