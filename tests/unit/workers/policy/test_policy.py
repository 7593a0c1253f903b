"""Which images a policy lets in, how its file is checked, and how it is read again."""

import contextlib
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.policy import (
    ImageLimits,
    Keep,
    Policy,
    PolicyError,
    PolicyFile,
    Watch,
    parse_policy,
)
from workers.reference import Reference

CONTRACT = """\
version: 1
rules:                                  # first match decides
  - allow: docker.io/atlas/*            # * one path component, ** any depth
  - allow: gitlab-registry.cern.ch/**
    tags: ["v*", latest]
    to: unpacked.example.org
    formats: [flat, layers, podman]
    platforms: [linux/amd64, linux/arm64]
    limits: {size: 20GiB, files: 1000000, layers: 127}
    private: refuse
    require_label: {org.cvmfs.publish: "true"}
    watch: {every: 15m, existing: none}
    keep: {newest: 20, grace: 30d}
  - deny: docker.io/unknownuser/**
    reason: not a namespace of the experiment
"""


def policy(*rules: str) -> Policy:
    return parse_policy("version: 1\nrules:\n" + "".join(f"  - {r}\n" for r in rules))


def decide(policy: Policy, text: str) -> tuple[bool, str]:
    decision = policy.decide(Reference.parse(text))
    return decision.allowed, decision.reason


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    return caught.value.problems


def test_the_example_of_the_contract_is_read() -> None:
    atlas, gitlab, unknown = parse_policy(CONTRACT).rules
    assert (atlas.effect, atlas.pattern, atlas.line) == (
        "allow",
        "docker.io/atlas/*",
        3,
    )
    assert (atlas.tags, atlas.formats) == (("*",), ("flat", "layers"))
    assert (atlas.platforms, atlas.private) == (("linux/amd64",), "refuse")
    assert atlas.limits == ImageLimits(20 * 2**30, 1_000_000, 127)
    assert (atlas.watch, atlas.keep, atlas.repository) == (None, None, None)
    assert gitlab.tags == ("v*", "latest")
    assert gitlab.repository == "unpacked.example.org"
    assert gitlab.formats == ("flat", "layers", "podman")
    assert gitlab.require_label == {"org.cvmfs.publish": "true"}
    assert gitlab.watch == Watch(900, "none")
    assert gitlab.keep == Keep(20, 30 * 86_400)
    assert (unknown.effect, unknown.line) == ("deny", 14)
    assert unknown.reason == "not a namespace of the experiment"


def test_a_decision_names_its_rule_and_line() -> None:
    example = parse_policy(CONTRACT)
    assert decide(example, "atlas/analysis:v1") == (
        True,
        "rule 1 (line 3): allow docker.io/atlas/*",
    )
    assert decide(example, "docker.io/unknownuser/x:1") == (
        False,
        (
            "not a namespace of the experiment "
            "[rule 3 (line 14): deny docker.io/unknownuser/**]"
        ),
    )
    assert decide(example, "quay.io/x/y:1") == (False, "no rule allows this name")
    decision = example.decide(Reference.parse("gitlab-registry.cern.ch/g/p:v2"))
    assert decision.rule is example.rules[1]
    assert decision.reference == "gitlab-registry.cern.ch/g/p:v2"


def test_a_rule_whose_tags_do_not_match_is_passed_over() -> None:
    two = policy(
        "{allow: 'docker.io/atlas/*', tags: ['v*', latest]}",
        "{deny: docker.io/atlas/secret}",
        "{allow: 'docker.io/**', tags: ['nightly-[0-9]*']}",
    )
    assert decide(two, "atlas/x:v1")[0]
    assert decide(two, "atlas/secret:v1")[0]
    assert not decide(two, "atlas/secret:nightly-1")[0]
    assert decide(two, "atlas/x:nightly-1") == (
        True,
        "rule 3 (line 5): allow docker.io/**",
    )
    assert decide(two, "atlas/x:dev") == (
        False,
        (
            "no rule allows this tag; "
            "rule 1 (line 3): allow docker.io/atlas/* takes only tags v*, latest"
        ),
    )


def test_a_reference_without_a_tag_starts_nothing() -> None:
    digest = f"sha256:{'0' * 64}"
    assert decide(policy("{allow: '**'}"), f"a/b@{digest}") == (
        False,
        "without a tag nothing is published",
    )


def test_a_reference_with_tag_and_digest_is_decided_by_its_tag() -> None:
    digest = f"sha256:{'0' * 64}"
    only_v = policy("{allow: '**', tags: ['v*']}")
    assert decide(only_v, f"docker.io/a/b:v1@{digest}")[0]
    assert not decide(only_v, f"docker.io/a/b:dev@{digest}")[0]


@pytest.mark.parametrize("text", ["version: 1\nrules:\n  # - allow: x\n", "version: 1"])
def test_a_policy_without_rules_allows_nothing(text: str) -> None:
    assert decide(parse_policy(text), "a/b:1") == (
        False,
        "no rule allows this name",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "version: is missing (line 1)"),
        ("- a", "policy: must be keys with values, not a list (line 1)"),
        (
            "rules: {}\nversion: 1",
            "rules: must be a list, not keys with values (line 1)",
        ),
        ("version: 1\nversion: 1", "line 2: the key 'version' stands twice"),
    ],
)
def test_a_file_that_is_no_policy_is_refused(text: str, told: str) -> None:
    assert problems(text) == (told,)


@given(st.text())
def test_any_text_is_a_policy_or_our_own_error(text: str) -> None:
    with contextlib.suppress(PolicyError):
        parse_policy(text)


def write(path: Path, rule: str, *, age: int = 60) -> None:
    """Write a policy whose file is ``age`` seconds old."""
    path.write_text(f"version: 1\nrules:\n  - {rule}\n")
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    write(path, "{allow: a.b/c}", age=90)
    file = PolicyFile(path)
    first = file.current()
    assert first.digest
    assert file.current() is first
    write(path, "{deny: a.b/cd}")
    assert file.current().rules[0].effect == "deny"
    assert file.problem is None


def test_a_file_changed_twice_within_a_clock_tick_is_not_missed(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    write(path, "{allow: a.b/c}", age=0)
    before = path.stat()
    file = PolicyFile(path)
    assert file.current().rules[0].pattern == "a.b/c"
    path.write_text(path.read_text().replace("a.b/c", "a.b/d"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.current().rules[0].pattern == "a.b/d"


def test_a_file_replaced_by_rename_or_link_is_read_again(tmp_path: Path) -> None:
    # Kubernetes swaps a link under a mounted ConfigMap.
    write(tmp_path / "one", "{allow: a.b/c}")
    write(tmp_path / "two", "{allow: a.b/d}")
    path = tmp_path / "policy.yaml"
    path.symlink_to("one")
    file = PolicyFile(path)
    assert file.current().rules[0].pattern == "a.b/c"
    (tmp_path / "link").symlink_to("two")
    (tmp_path / "link").replace(path)
    assert file.current().rules[0].pattern == "a.b/d"


def test_a_broken_file_keeps_the_old_policy_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "policy.yaml"
    write(path, "{allow: a.b/c}")
    file = PolicyFile(path)
    good = file.current()
    write(path, "{allow: atlas/x}", age=30)
    assert file.current() is good
    assert file.problem is not None
    assert "write docker.io/atlas/x" in file.problem
    assert file.current() is good
    path.write_bytes(b"\xff")
    assert file.current() is good
    assert file.problem == f"{path}: is not UTF-8 text"
    path.unlink()
    assert file.current() is good
    assert file.problem == f"{path}: cannot be read: No such file or directory"
    assert len([r for r in caplog.records if r.levelname == "ERROR"]) == 3
    write(path, "{allow: a.b/c}")
    assert file.current() == good
    assert file.problem is None


def test_a_file_that_is_broken_from_the_start_allows_nothing(tmp_path: Path) -> None:
    file = PolicyFile(tmp_path / "absent.yaml")
    assert decide(file.current(), "a/b:1") == (False, "no rule allows this name")
    assert file.problem == f"{file.path}: cannot be read: No such file or directory"
    (tmp_path / "folder").mkdir()
    folder = PolicyFile(tmp_path / "folder")
    assert folder.current() == Policy()
    assert folder.problem == f"{folder.path}: cannot be read: Is a directory"


def test_threads_share_a_policy_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    write(path, "{allow: a.b/c0}")
    file = PolicyFile(path)
    failures: list[BaseException] = []

    def look() -> None:
        try:
            for _ in range(200):
                assert file.current().rules[0].pattern.startswith("a.b/c")
        except BaseException as exc:  # noqa: BLE001 # handed to the test's own thread
            failures.append(exc)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(50):
        fresh = tmp_path / "fresh"
        write(fresh, f"{{allow: a.b/c{number}}}", age=0)
        fresh.replace(path)
    for thread in threads:
        thread.join()
    assert not failures
    assert file.current().rules[0].pattern == "a.b/c49"
