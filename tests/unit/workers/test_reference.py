import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.reference import (
    InvalidReference,
    Reference,
    parse_digest,
    parse_registry,
    parse_repository,
    parse_tag,
)

SHA256 = "sha256:" + "0123456789abcdef" * 4
SHA512 = "sha512:" + "0123456789abcdef" * 8


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3", "docker.io/library/alpine:3"),
        ("atlas/analysis", "docker.io/atlas/analysis:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest"),
        ("registry-1.docker.io/atlas/a", "docker.io/atlas/a:latest"),
        ("registry.hub.docker.com/atlas/a", "docker.io/atlas/a:latest"),
        ("Docker.IO/atlas/a", "docker.io/atlas/a:latest"),
        ("docker.io:5000/alpine", "docker.io:5000/alpine:latest"),
        ("localhost/a", "localhost/a:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000"),
        ("localhost:5000/a:b", "localhost:5000/a:b"),
        ("LocalHost/a", "localhost/a:latest"),
        ("gitlab-registry.cern.ch/a/b/c/d:v1.0_x-y", None),
        ("127.0.0.1:5000/a__b/c.d/e--f:_", None),
        ("[2001:DB8:0::1]:5000/a", "[2001:db8::1]:5000/a:latest"),
        ("[::ffff:1.2.3.4]/a", "[::ffff:102:304]/a:latest"),
        (f"r.example/a@{SHA256}", None),
        (f"r.example/a:v1@{SHA256}", None),
        (f"alpine@{SHA512}", f"docker.io/library/alpine@{SHA512}"),
        ("r.example/" + "a" * 255, "r.example/" + "a" * 255 + ":latest"),
        ("r.example/a:" + "t" * 128, None),
    ],
)
def test_what_people_write_has_one_canonical_form(
    text: str, canonical: str | None
) -> None:
    reference = Reference.parse(text)
    assert str(reference) == (canonical or text)
    assert Reference.parse(str(reference)) == reference


def test_a_reference_is_taken_apart() -> None:
    reference = Reference.parse(f"r.example:5000/a/b:v1@{SHA256}")
    assert reference == Reference("r.example:5000", "a/b", "v1", SHA256)
    assert reference.name == "r.example:5000/a/b"
    assert Reference.parse(f"a@{SHA256}").tag is None
    assert Reference.parse("a").digest is None


HOSTILE = [
    "",
    " ",
    ":",
    "/",
    "@",
    ".",
    "..",
    "-",
    "../../etc:x",
    "a/../../etc:x",
    "a/./b",
    "a//b",
    "/a",
    "a/",
    "r.example/",
    "r.example//a",
    "a:",
    "a@",
    "a:b:c",
    "a:/b",
    "a:../x",
    "a:.x",
    "a:-x",
    "a:" + "t" * 129,
    "a:v1\n",
    "a\n",
    "\na",
    "a:v1\x00",
    "a b",
    "a:v 1",
    "A",
    "a/B",
    "Registry/a",
    "a.-b",
    "a___b",
    "-a",
    "a-",
    "a_",
    ".a/b",
    "a\u0660",
    "a:\u0661",
    "a:\uff11",
    "\u00e4",
    "a\udc80",
    "a\u202eb",
    "a%2e%2e/b",
    "a?b",
    "a#b",
    "a$(id)",
    "a;b",
    "--help",
    "https://r.example/a",
    "user@r.example/a",
    "user:password@r.example/a",
    "r.example:/a",
    "r.example:0/a",
    "r.example:080/a",
    "r.example:65536/a",
    "r.example:99999/a",
    "r.example:1234567/a",
    "r.example:\u0661/a",
    "r..example/a",
    ".r.example/a",
    "r.example./a",
    "-r.example/a",
    "r_x.example/a",
    "doc\u212aer.io/a",
    "[::1/a",
    "[]/a",
    "[:::]/a",
    "[::1%eth0]/a",
    "[::1]x/a",
    "1:2:3/a",
    "r.example/" + "a" * 256,
    "r." + "a" * 300 + "/a",
    f"a@{SHA256[:-1]}",
    f"a@{SHA256}0",
    f"a@{SHA256.upper()}",
    f"a@{SHA256}\n",
    f"a@{SHA256}@{SHA256}",
    "a@sha256:" + "g" * 64,
    "a@sha256:../" + "0" * 61,
    "a@md5:" + "0" * 32,
    f"a:@{SHA256}",
    f"@{SHA256}",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_that_no_registry_gave_out_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference) as refusal:
        Reference.parse(text)
    # One line, whatever was in it.
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 2000


@given(st.text() | st.text(alphabet="aA0.:/@_-[]\n"))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidReference):
        reference = Reference.parse(text)
        assert Reference.parse(str(reference)) == reference
        assert str(reference).isascii()


_word = st.text(alphabet="abc019", min_size=1, max_size=5)
_component = st.builds(
    lambda head, tail: head + "".join(tail),
    _word,
    st.lists(
        st.builds(str.__add__, st.sampled_from([".", "_", "__", "-", "--"]), _word),
        max_size=3,
    ),
)
_repositories = st.lists(_component, min_size=2, max_size=5).map("/".join)
_registries = st.sampled_from(
    ["docker.io", "localhost", "127.0.0.1:5000", "[::1]:5000", "registry.example.org"]
)
_tags = st.from_regex(r"\A[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\Z")
_digests = st.sampled_from([SHA256, SHA512])
_references = st.builds(Reference, _registries, _repositories, _tags) | st.builds(
    Reference, _registries, _repositories, st.none() | _tags, _digests
)


@given(_references)
def test_printing_and_parsing_is_the_identity(reference: Reference) -> None:
    assert Reference.parse(str(reference)) == reference


@given(_references)
def test_the_parts_of_a_reference_are_valid_alone(reference: Reference) -> None:
    assert parse_registry(reference.registry) == reference.registry
    assert parse_repository(reference.repository) == reference.repository
    if reference.tag is not None:
        assert parse_tag(reference.tag) == reference.tag
    if reference.digest is not None:
        assert parse_digest(reference.digest) == reference.digest


@pytest.mark.parametrize(
    "parse", [parse_registry, parse_repository, parse_tag, parse_digest]
)
@pytest.mark.parametrize("text", ["", "\n", "..", "../x", "a b", "a\n", "\u0661"])
def test_every_part_is_refused_alone_too(
    parse: Callable[[str], str], text: str
) -> None:
    with pytest.raises(InvalidReference):
        parse(text)


def test_a_registry_is_never_a_single_word() -> None:
    # Written in front of a repository it would be read as a namespace of Docker Hub.
    assert Reference.parse("registry/a").name == "docker.io/registry/a"
    with pytest.raises(InvalidReference):
        parse_registry("registry")


def test_an_error_names_the_part_and_its_value() -> None:
    with pytest.raises(InvalidReference, match=r"^tag '\.x' is not valid: ") as refusal:
        Reference.parse("a:.x")
    assert refusal.value.value == ".x"
