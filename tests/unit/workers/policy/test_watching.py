"""A policy that watches wants somebody to ask."""

import pytest

from tests.support.harness.reconciler import MINUTE
from workers.policy import parse_policy
from workers.policy.watching import overdue


@pytest.mark.parametrize(
    ("rule", "last_round", "is_late"),
    [
        ("watch: {every: 15m}", None, True),
        ("watch: {every: 15m}", 0.0, True),
        ("watch: {every: 15m}", 45 * MINUTE - 1.0, False),
        ("watch: {every: 1m}", 45 * MINUTE + 1.0, False),
        ("keep: {grace: 1d}", None, False),
    ],
)
def test_a_policy_that_watches_wants_somebody_to_ask(
    rule: str, last_round: float | None, *, is_late: bool
) -> None:
    policy = parse_policy(f"version: 1\nrules: [{{allow: a.b/c, {rule}}}]\n")
    said = overdue(policy, last_round, now=45.0 * MINUTE)
    assert (said is not None) is is_late
