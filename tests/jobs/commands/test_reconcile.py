"""``reconcile --once``: what it says, and how it ends."""

import json

from click.testing import CliRunner, Result

from tests.support.harness.jobs import Workshop
from tests.support.harness.reconciler import NAME, ReconcilerDriver
from webhook.cli import main


def command(shop: Workshop, *words: str) -> Result:
    words = ("reconcile", *words, "--config", str(shop.config))
    return CliRunner().invoke(main, words)


def test_once_says_what_it_found(shop: Workshop, watch: ReconcilerDriver) -> None:
    watch.publish("v1")
    watch.push("v1", b"second")
    result = command(shop, "--once")
    assert (result.exit_code, result.stderr) == (0, "")
    name = f"{shop.registry.host}/{NAME}"
    assert result.stdout == f"{name}: 1 tags; queued: v1\n"
    said = json.loads(command(shop, "--once", "--json").stdout)
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
        ]
    }


def test_once_ends_with_try_again_where_a_registry_did_not_answer(
    shop: Workshop, watch: ReconcilerDriver
) -> None:
    watch.publish("v1")
    shop.registry.fail("GET", "/tags/list", status=503, times=1)
    result = command(shop, "--once")
    assert result.exit_code == 4
    assert "503" in result.stdout


def test_once_says_when_nothing_is_watched(shop: Workshop) -> None:
    result = command(shop, "--once")
    assert (result.exit_code, "nothing to look at" in result.stdout) == (0, True)


def test_a_policy_that_cannot_be_read_is_said(shop: Workshop) -> None:
    shop.write_policy("rules: [")
    result = command(shop, "--once")
    assert result.exit_code == 2
    assert "policy.yaml" in result.stderr
