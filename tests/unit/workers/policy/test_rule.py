"""What a rule may say, and how a wrong one is told."""

import pytest

from workers.policy import (
    NoTarget,
    Policy,
    PolicyError,
    parse_policy,
    target_repository,
)


def policy(*rules: str) -> Policy:
    return parse_policy("version: 1\nrules:\n" + "".join(f"  - {r}\n" for r in rules))


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    return caught.value.problems


def test_every_problem_is_told_at_once_with_rule_and_line() -> None:
    text = """\
version: 2
rule: []
rules:
  - allow: atlas/*
  - allow: docker.io/a/*
    tag: [v1]
    tags: [1.10]
  - deny: docker.io/b/*
    formats: [flat]
  - allow: docker.io/c/*
    limits: {size: 20Gi}
    watch: {every: 30s}
    keep: {grace: soon}
  - {}
  - allow: a.b/c
    deny: a.b/c
  - docker.io/d/*
"""
    assert problems(text) == (
        "version: must be 1, the only version there is, not 2 (line 1)",
        "rule: unknown key: did you mean 'rules'? (line 2)",
        (
            "rule 1 (line 4): allow: pattern 'atlas/*' is not valid: it names no "
            "registry: write docker.io/atlas/*"
        ),
        "rule 2 (line 6): tag: unknown key: did you mean 'tags'?",
        "rule 2 (line 7): tags.0: must be text, in quotes, not 1.1",
        "rule 3 (line 9): formats: is for allow: only",
        (
            "rule 4 (line 11): limits.size: '20Gi' is no size: write 20GiB, 500MB or "
            "bytes"
        ),
        "rule 4 (line 12): watch.every: must be at least 1m",
        (
            "rule 4 (line 13): keep.grace: 'soon' is no time: write 45s, 15m, 12h, 30d "
            "or 2w"
        ),
        "rule 5 (line 14): must have either allow: or deny:",
        "rule 6 (line 15): must have either allow: or deny:",
        "rule 7 (line 17): must be keys with values, not 'docker.io/d/*'",
    )


@pytest.mark.parametrize(
    "rule",
    [
        "{allow: a.b/c, tags: []}",
        "{allow: a.b/c, tags: ['']}",
        "{allow: a.b/c, tags: v1}",
        "{allow: a.b/c, formats: [ext4]}",
        "{allow: a.b/c, platforms: [amd64]}",
        "{allow: a.b/c, limits: {size: 0}}",
        "{allow: a.b/c, limits: {files: 1.5}}",
        "{allow: a.b/c, private: maybe}",
        "{allow: a.b/c, require_label: {a: true}}",
        "{allow: a.b/c, watch: {existing: all}}",
        "{allow: a.b/c, watch: {every: 15m, existing: some}}",
        "{allow: a.b/c, keep: {newest: 0, grace: 1d}}",
        "{allow: 7}",
    ],
)
def test_a_wrong_value_in_a_rule_is_one_problem(rule: str) -> None:
    (problem,) = problems(f"version: 1\nrules:\n  - {rule}\n")
    assert problem.startswith("rule 1 (line 3): ")


def test_which_old_tags_are_newest_nobody_can_say() -> None:
    rule = "{allow: a.b/c, watch: {every: 15m, existing: all}, keep: %s}"
    policy(rule % "{grace: 30d}")
    with pytest.raises(PolicyError, match=r"keep\.newest: cannot stand beside watch"):
        policy(rule % "{newest: 20, grace: 30d}")


def test_an_allowed_image_needs_one_repository_to_go_to() -> None:
    named, open_ = policy("{allow: a.b/c, to: x.example}", "{allow: a.b/**}").rules
    assert target_repository(named, ["x.example", "y.example"]) == "x.example"
    assert target_repository(open_, ["y.example"]) == "y.example"
    with pytest.raises(NoTarget, match="write to: with one of"):
        target_repository(open_, ["x.example", "y.example"])
    with pytest.raises(NoTarget, match=r"'x\.example' is not configured"):
        target_repository(named, ["y.example"])
    three = policy("{allow: a.b/c}", "{deny: a.b/d}", "{allow: a.b/e, to: z.example}")
    assert three.unknown_targets(["y.example"]) == (
        "rule 3 (line 5): allow a.b/e: repository 'z.example' is not configured",
    )
