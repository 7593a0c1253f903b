"""What an image pattern matches, and which patterns there are."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.policy import Policy, parse_policy
from workers.policy.image_pattern import ImagePattern, InvalidPattern, is_signature_tag
from workers.reference import Reference


def policy(*rules: str) -> Policy:
    return parse_policy("version: 1\nrules:\n" + "".join(f"  - {r}\n" for r in rules))


def decide(policy: Policy, text: str) -> tuple[bool, str]:
    decision = policy.decide(Reference.parse(text))
    return decision.allowed, decision.reason


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
