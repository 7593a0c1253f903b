"""``reconcile --once``: what it says, and how it ends."""

import json
import time

import pytest
from click.testing import CliRunner, Result

from tests.support.harness.jobs import JobRunner
from tests.support.harness.reconciler import NAME, ReconcilerDriver
from tests.support.harness.steering import give_up
from webhook.cli import main

NAME_THEM = (
    "name the image repositories in the policy in place of a *, or push each once"
)


def command(runner: JobRunner, *words: str) -> Result:
    words = ("reconcile", *words, "--config", str(runner.config))
    return CliRunner().invoke(main, words)


def test_once_says_what_it_found(runner: JobRunner, watch: ReconcilerDriver) -> None:
    watch.publish("v1")
    watch.push("v1", b"second")
    result = command(runner, "--once")
    assert result.exit_code == 0
    (start,) = result.stderr.splitlines()
    assert start.startswith("cvmfs-webhook ")
    name = f"{runner.registry.host}/{NAME}"
    host, *looked = result.stdout.splitlines()
    assert host.startswith(f"{runner.registry.host}: lists nothing to us (")
    assert "answered 404 (UNSUPPORTED" in host
    assert host.endswith(NAME_THEM)
    assert looked == [f"{name}: 1 tags; queued: v1"]
    said = json.loads(command(runner, "--once", "--json").stdout)
    assert said["repositories"].pop(0)["unlisted"] in host
    assert said == {
        "asked_again": [],
        "repositories": [
            {
                "repository": name,
                "tags": 1,
                "queued": [],
                "deleted": [],
                "not_kept": [],
                "not_kept_for_long": [],
                "problem": None,
                "unlisted": None,
            }
        ],
        "allowed_now": [],
    }


def test_once_ends_with_try_again_where_a_registry_did_not_answer(
    runner: JobRunner, watch: ReconcilerDriver
) -> None:
    watch.publish("v1")
    runner.registry.fail("GET", "/tags/list", status=503, times=1)
    result = command(runner, "--once")
    assert result.exit_code == 4
    assert "503" in result.stdout


@pytest.mark.parametrize("pattern", ["{host}/**", "**"])
def test_once_never_says_that_nothing_is_watched_where_names_are_needed(
    runner: JobRunner, pattern: str
) -> None:
    allow = pattern.format(host=runner.registry.host)
    rule = {"allow": allow, "watch": {"every": "1m"}}
    runner.write_policy(json.dumps({"version": 1, "rules": [rule]}))
    result = command(runner, "--once")
    assert (result.exit_code, "nothing to look at" in result.stdout) == (1, False)
    assert NAME_THEM in result.stdout


def test_once_asks_again_for_what_was_given_up(runner: JobRunner) -> None:
    give_up(runner)
    name = runner.reference("atlas/analysis:v1")
    # The command goes by the time of Redis itself.
    long_ago = f"{time.time() - 7 * 3600:.6f}"
    runner.services.front.connection.hset(
        f"cvmfs-webhook:image:{name}", "given_up", long_ago
    )
    said = f"{name}: was given up, is tried again\n"
    assert command(runner, "--once").stdout == said


def test_once_says_when_nothing_is_watched(runner: JobRunner) -> None:
    result = command(runner, "--once")
    assert (result.exit_code, "nothing to look at" in result.stdout) == (0, True)


def test_a_policy_that_cannot_be_read_is_said(runner: JobRunner) -> None:
    runner.write_policy("rules: [")
    result = command(runner, "--once")
    assert result.exit_code == 2
    assert "policy.yaml" in result.stderr
