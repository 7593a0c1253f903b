import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.registry.auth.challenge import (
    Challenge,
    MalformedChallenge,
    parse_challenges,
)


def test_docker_hub_names_its_token_server_service_and_scope() -> None:
    header = (
        'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
        'scope="repository:library/alpine:pull"'
    )
    expected = {
        "realm": "https://auth.docker.io/token",
        "service": "registry.docker.io",
        "scope": "repository:library/alpine:pull",
    }
    assert parse_challenges(header) == (Challenge("bearer", expected),)


def test_a_comma_within_quotes_ends_nothing() -> None:
    (challenge,) = parse_challenges('Bearer scope="repository:a/b:pull,push",error=x')
    assert challenge.parameters == {"scope": "repository:a/b:pull,push", "error": "x"}


def test_several_challenges_in_one_header_are_told_apart() -> None:
    header = 'Negotiate, Basic realm="a", bEaRer realm = "b" , service=c'
    assert parse_challenges(header) == (
        Challenge("negotiate", {}),
        Challenge("basic", {"realm": "a"}),
        Challenge("bearer", {"realm": "b", "service": "c"}),
    )


def test_a_challenge_may_carry_a_token68_in_place_of_parameters() -> None:
    assert parse_challenges("Negotiate abc/+==, Basic realm=a") == (
        Challenge("negotiate", {}),
        Challenge("basic", {"realm": "a"}),
    )


def test_names_are_lower_cased_and_quoted_pairs_undone() -> None:
    (challenge,) = parse_challenges(r'BASIC Realm="a \"quoted\" \\ realm"')
    assert challenge == Challenge("basic", {"realm": r'a "quoted" \ realm'})


@pytest.mark.parametrize("header", ["", " ", ",, ,"])
def test_an_empty_header_has_no_challenge(header: str) -> None:
    assert parse_challenges(header) == ()


@pytest.mark.parametrize(
    "header",
    [
        'Bearer realm="open',
        'Bearer realm="a" service="b"',
        'Bearer realm="a",realm="b"',
        'Bearer realm="a",REALM="b"',
        "=",
        'realm="a"',
        'Bearer realm="a"\r\nX: y',
        "Bearer " + "a" * 9000,
    ],
)
def test_what_follows_no_grammar_is_refused(header: str) -> None:
    with pytest.raises(MalformedChallenge):
        parse_challenges(header)


@pytest.mark.parametrize(
    "header",
    [
        'Basic realm="Zug\u00e4nge", {good}',
        '{good}, Basic realm="Zug\u00e4nge"',
        'Basic\trealm="a\tb",\t{good}\t',
        '{good}, Bearer realm="a",realm="b"',
        "@, {good}",
        "{good}, Negotiate @@, @",
        'Bearer realm="a" service="b", {good}',
        '{good}, Basic realm="open',
    ],
)
def test_what_cannot_be_read_does_not_spoil_a_challenge_beside_it(header: str) -> None:
    good = 'Bearer realm="https://a.example/token",service="c"'
    expected = {"realm": "https://a.example/token", "service": "c"}
    found = parse_challenges(header.format(good=good))
    assert Challenge("bearer", expected) in found


@given(st.text() | st.text(alphabet='aB1 ,="\\/:\t\n'))
def test_any_text_parses_or_is_refused_and_nothing_else(header: str) -> None:
    with contextlib.suppress(MalformedChallenge):
        for challenge in parse_challenges(header):
            assert challenge.scheme == challenge.scheme.lower() != ""


_words = st.text(alphabet="abcxyz0129-._", min_size=1)
_values = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126))


@given(
    st.lists(
        st.builds(
            Challenge,
            _words,
            st.dictionaries(_words, _values, min_size=1),
        )
    )
)
def test_printed_challenges_parse_to_themselves(challenges: list[Challenge]) -> None:
    parts = []
    for challenge in challenges:
        quoted = [
            '{}="{}"'.format(name, value.replace("\\", r"\\").replace('"', r"\""))
            for name, value in challenge.parameters.items()
        ]
        parts.append(f"{challenge.scheme} {','.join(quoted)}")
    header = ", ".join(parts)
    if len(header) <= 8192:
        assert parse_challenges(header) == tuple(challenges)
