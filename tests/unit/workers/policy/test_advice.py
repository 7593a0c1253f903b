"""What is said of a policy that is valid, and hardly meant."""

import pytest

from workers.policy import parse_policy
from workers.policy.advice import advice


def advised(*rules: str) -> list[str]:
    text = "version: 1\nrules:\n" + "".join(f"  - {rule}\n" for rule in rules)
    return list(advice(parse_policy(text)))


@pytest.mark.parametrize(
    "rules",
    [
        ("{allow: docker.io/atlas/*}", "{allow: docker.io/atlas/*/*}"),
        ("{deny: a.b/c/private}", "{allow: a.b/c/**}"),
        ("{allow: a.b/c, tags: [v*]}", "{deny: a.b/c}"),
        ("{allow: a.b/c, tags: ['v?']}", "{deny: a.b/c, tags: ['v*']}"),
        ("{allow: a.b/c, tags: ['v[0-9]']}", "{deny: a.b/c, tags: ['v[a-z]']}"),
        ("{allow: a.b/*}", "{allow: a.b/**}"),
        ("{allow: a.b/c*}", "{allow: a.b/*c}"),
        ("{deny: '**'}",),
        ("{allow: quay.io/atlas/**}",),
    ],
)
def test_rules_that_each_decide_something_are_let_alone(rules: tuple[str, ...]) -> None:
    assert advised(*rules) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{allow: a.b/**}", "{deny: a.b/c/d}"),
        ("{allow: a.b/**}", "{deny: a.b/*}"),
        ("{allow: a.b/**}", "{deny: a.b/x/**/y}"),
        ("{allow: a.b/*c*}", "{deny: a.b/xc*}"),
        ("{allow: a.b/c}", "{deny: a.b/c, tags: [v1]}"),
        ("{allow: a.b/c, tags: [v*]}", "{deny: a.b/c, tags: [v1.*, 'v?']}"),
        ("{allow: 'docker.io/library/x'}", "{deny: docker.io/x}"),
    ],
)
def test_a_rule_that_an_earlier_one_hides_is_named_with_it(
    first: str, second: str
) -> None:
    (line,) = advised(first, second)
    assert line.startswith("rule 2 (line 4): deny ")
    assert "never decides, as rule 1 (line 3): allow" in line


def test_of_a_rule_that_is_hidden_in_part_the_tags_are_named() -> None:
    (line,) = advised("{allow: a.b/c, tags: [v*]}", "{deny: a.b/c, tags: [v1, latest]}")
    assert "never decides about tags v1, as rule 1" in line


def test_a_tag_that_cannot_be_is_named() -> None:
    (line,) = advised("{allow: a.b/c, tags: ['v1:*', a/b, .x, 'v1', '*', 'v[0-9]']}")
    assert "no tag can match v1:*, a/b, .x:" in line


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("**", "every registry"),
        ("*/atlas", "every registry"),
        ("docker.io/**", "anybody can have a namespace at docker.io"),
        ("ghcr.io/*/app", "anybody can have a namespace at ghcr.io"),
    ],
)
def test_a_rule_that_allows_strangers_is_named(pattern: str, told: str) -> None:
    (line,) = advised(f"{{allow: '{pattern}'}}")
    assert told in line
