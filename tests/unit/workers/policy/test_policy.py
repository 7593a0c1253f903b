"""Which images a policy lets in, how its file is checked, and how it is read again."""

import contextlib
import os
import string
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.documents.quantities import BadQuantity, parse_duration, parse_size
from workers.policy import (
    ImageLimits,
    Keep,
    NoTarget,
    Policy,
    PolicyError,
    PolicyFile,
    Watch,
    parse_policy,
    target_repository,
)
from workers.policy.image_pattern import ImagePattern, InvalidPattern, is_signature_tag
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
    assert decide(example, "quay.io/x/y:1") == (False, "no rule allows quay.io/x/y")
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
            "no rule allows docker.io/atlas/x:dev; "
            "rule 1 (line 3): allow docker.io/atlas/* takes only tags v*, latest"
        ),
    )


@pytest.mark.parametrize(
    ("globs", "tag", "matches"),
    [
        ("'v*'", "v1", True),
        ("'v*'", "V1", False),
        ("'v*'", "xv1", False),
        ("latest", "latest-1", False),
        ("'1.2.*'", "1x2x3", False),
        ("'v?'", "v1", True),
        ("'v?'", "v12", False),
        ("'v[0-9]'", "v7", True),
        ("'(a|b)'", "a", False),
        ("'.*'", "abc", False),
        ("2026-02-03", "2026-02-03", True),
        # Those that DUCC tests its own with.
        ("'*'", "5230.25.83", True),
        ("'a*'", "aab.12-8", True),
        ("'a*'", "2.3", False),
        ("'*-foo'", "ubuntu-foo", True),
        ("'*-foo'", "foo-bar", False),
        ("'*foo*'", "version-foo-2", True),
        ("'*foo*'", "foo", True),
        ("'*foo*'", "nope", False),
        ("'rhel7-m*'", "rhel7-m202002", True),
        ("'rhel7-m*'", "tmp-rhel7-m202002-20200213", False),
        ("'1.9.2*'", "1.9.2-1-alpine", True),
        ("'1.9.2*'", "1.9.12", False),
    ],
)
def test_tags_are_globs_in_full_and_case_sensitive(
    globs: str, tag: str, *, matches: bool
) -> None:
    one = policy(f"{{allow: docker.io/a/b, tags: [{globs}]}}")
    assert decide(one, f"docker.io/a/b:{tag}")[0] is matches


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("docker.io/atlas/*", "docker.io/atlas/x", True),
        ("docker.io/atlas/*", "docker.io/atlas/x/y", False),
        ("docker.io/atlas/*", "docker.io/atlas", False),
        ("docker.io/atlas/*", "docker.io/atlasx/x", False),
        ("docker.io/atlas/*", "evil.example/docker.io/atlas/x", False),
        ("docker.io/atlas/**", "docker.io/atlas/x/y/z", True),
        ("docker.io/atlas/**", "docker.io/atlas", False),
        ("docker.io/at*s/a*-*z", "docker.io/atlas/ab-cz", True),
        ("docker.io/at*s/a*-*z", "docker.io/atlas/ab-c", False),
        ("registry.hub.docker.com/atlas/*", "docker.io/atlas/x", True),
        ("docker.io/alpine", "docker.io/library/alpine", True),
        ("docker.io/*", "docker.io/library/alpine", True),
        ("docker.io/*", "docker.io/atlas/x", False),
        ("docker.io/**", "docker.io/atlas/x", True),
        ("127.0.0.1:5000/**", "127.0.0.1:5000/x", True),
        ("127.0.0.1:5000/**", "127.0.0.1:5001/x", False),
        ("[::1]:5000/**", "[::1]:5000/x", True),
        ("[::1]:5000/**", ":/x", False),
        ("localhost/x", "localhost/x", True),
        ("GitLab.Example/x", "gitlab.example/x", True),
        ("*.cern.ch/a/**", "gitlab-registry.cern.ch/a/b", True),
        ("*.cern.ch/a/**", "cern.ch/a/b", False),
        ("**", "a.b/c/d", True),
        ("*/atlas/x", "a.b/atlas/x", True),
        ("a.b/**/x", "a.b/x", True),
        ("a.b/**/x", "a.b/c/d/x", True),
        ("a.b/**/x", "a.b/c/d/y", False),
        ("a.b/**/c/**/d", "a.b/c/x/c/y/z/d", True),
        ("a.b/**/c/**", "a.b/c", False),
        ("a.b/**/**", "a.b/c", True),
        ("a.b/x.y", "a.b/xzy", False),
    ],
)
def test_patterns_match_whole_names_component_by_component(
    pattern: str, name: str, *, matches: bool
) -> None:
    assert ImagePattern.parse(pattern).matches(name) is matches


@pytest.mark.parametrize(
    ("pattern", "mend"),
    [
        ("atlas/*", "write docker.io/atlas/*"),
        ("atlas*/x", "write docker.io/atlas*/x"),
        ("alpine", "write docker.io/library/alpine"),
        ("gitlab-registry.cern.ch", "write gitlab-registry.cern.ch/**"),
        ("docker.io/a/b:v1", "a tag goes into tags:"),
        ("docker.io/a/b@sha256:00", "a tag goes into tags:"),
        ("docker.io/Atlas/*", "in lower case"),
        ("docker.io/atlas/", "use names"),
        ("docker.io//x", "use names"),
        ("docker.io/../x", "use names"),
        ("docker.io/a**", "use names"),
        ("docker.io/a b", "use names"),
        ("docker.io/(a|b)", "use names"),
        ("docker.io/a\n", "use names"),
        ("**.io/a", "the registry is host or host:port"),
        ("a_b.*/a", "the registry is host or host:port"),
        ("a..b/c", "registry 'a..b' is not valid"),
        ("", "write docker.io/library/"),
    ],
)
def test_a_pattern_that_cannot_mean_what_it_says_is_refused(
    pattern: str, mend: str
) -> None:
    with pytest.raises(InvalidPattern) as caught:
        ImagePattern.parse(pattern)
    assert mend in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet=string.printable))
def test_any_text_is_a_pattern_or_our_own_error(text: str) -> None:
    try:
        pattern = ImagePattern.parse(text)
    except InvalidPattern:
        return
    pattern.matches("docker.io/library/alpine")


names = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=6)
stars = st.lists(st.sampled_from(["a", "b", "*", "**", "a*"]), max_size=6)


@given(names, stars)
def test_patterns_agree_with_their_plain_definition(
    name: list[str], pattern: list[str]
) -> None:
    def plainly(pattern: list[str], name: list[str]) -> bool:
        if not pattern:
            return not name
        if pattern == ["**"]:
            return bool(name)
        if pattern[0] == "**":
            return any(
                plainly(pattern[1:], name[skipped:]) for skipped in range(len(name) + 1)
            )
        return bool(
            name
            and (
                name[0] == pattern[0]
                or pattern[0] == "*"
                or (pattern[0] == "a*" and name[0].startswith("a"))
            )
            and plainly(pattern[1:], name[1:])
        )

    text = "/".join(["x.y", *(pattern or ["**"])])
    expected = plainly(pattern or ["**"], name)
    assert ImagePattern.parse(text).matches("/".join(["x.y", *name])) is expected


def test_many_stars_stay_fast_on_a_hostile_name() -> None:
    # Either of these takes a backtracking matcher longer than any test run.
    within = ImagePattern.parse("a.b/" + "a*" * 30 + "b")
    assert not within.matches("a.b/" + "a" * 250)
    across = ImagePattern.parse("a.b/" + "**/a/" * 20 + "b")
    assert not across.matches("a.b/" + "/".join("a" * 120))


def test_signatures_and_attestations_never_start_work() -> None:
    everything = policy("{allow: '**'}")
    tag = f"sha256-{'0' * 64}"
    for suffix in ("", ".sig", ".att", ".sbom"):
        assert decide(everything, f"a/b:{tag}{suffix}") == (
            False,
            "signature or attestation, not an image",
        )
        assert is_signature_tag(tag + suffix)
    assert decide(everything, "a/b:sha256-abc")[0]
    assert decide(everything, f"a/b:{tag}.other")[0]


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
        "no rule allows docker.io/a/b",
    )


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


@given(st.text())
def test_any_text_is_a_policy_or_our_own_error(text: str) -> None:
    with contextlib.suppress(PolicyError):
        parse_policy(text)


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


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("20GiB", 20 * 2**30),
        ("1.5 MiB", 1_572_864),
        ("500MB", 500_000_000),
        ("2kB", 2000),
        ("2KB", 2000),
        ("3TiB", 3 * 2**40),
        ("7B", 7),
        ("7", 7),
    ],
)
def test_sizes_are_bytes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "GiB", "1 iB", "-1", "1e9", "20gib", "٢GiB", "1\n"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(BadQuantity):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000), ("2w", 1_209_600)],
)
def test_times_are_seconds(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "m", "15 m", "1.5h", "-1s", "15m\n"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadQuantity):
        parse_duration(text)


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
    assert decide(file.current(), "a/b:1") == (False, "no rule allows docker.io/a/b")
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
