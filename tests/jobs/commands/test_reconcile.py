"""``reconcile --once``: what it says, and how it ends."""

import json

from click.testing import CliRunner, Result

from tests.support.harness.jobs import JobRunner
from tests.support.harness.reconciler import NAME, ReconcilerDriver
from webhook.cli import main


def command(runner: JobRunner, *words: str) -> Result:
    words = ("reconcile", *words, "--config", str(runner.config))
    return CliRunner().invoke(main, words)


def test_once_says_what_it_found(runner: JobRunner, watch: ReconcilerDriver) -> None:
    watch.publish("v1")
    watch.push("v1", b"second")
    result = command(runner, "--once")
    assert (result.exit_code, result.stderr) == (0, "")
    name = f"{runner.registry.host}/{NAME}"
    assert result.stdout == f"{name}: 1 tags; queued: v1\n"
    said = json.loads(command(runner, "--once", "--json").stdout)
    assert said == {
        "repositories": [
            {
                "repository": name,
                "tags": 1,
                "queued": [],
                "deleted": [],
                "not_kept": [],
                "not_kept_for_long": [],
                "problem": None,
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


def test_once_says_when_nothing_is_watched(runner: JobRunner) -> None:
    result = command(runner, "--once")
    assert (result.exit_code, "nothing to look at" in result.stdout) == (0, True)


def test_a_policy_that_cannot_be_read_is_said(runner: JobRunner) -> None:
    runner.write_policy("rules: [")
    result = command(runner, "--once")
    assert result.exit_code == 2
    assert "policy.yaml" in result.stderr
