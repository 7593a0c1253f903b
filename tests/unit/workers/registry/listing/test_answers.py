import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.registry.listing.answers import next_page, parse_repositories, parse_tags
from workers.registry.transport.answers import RegistryProtocolError

URL = "https://r.example/v2/a/b/tags/list?n=2"


def test_a_page_lists_its_tags_in_order() -> None:
    assert parse_tags(b'{"name": "a/b", "tags": ["v2", "v1"]}', "s") == ["v2", "v1"]


@pytest.mark.parametrize("body", [b'{"name": "a", "tags": null}', b'{"tags": []}'])
def test_a_repository_may_have_no_tags(body: bytes) -> None:
    assert parse_tags(body, "s") == []


def test_a_catalog_lists_repositories() -> None:
    assert parse_repositories(b'{"repositories": ["a/b", "c"]}', "s") == ["a/b", "c"]
    with pytest.raises(RegistryProtocolError, match="repository name"):
        parse_repositories(b'{"repositories": ["../etc"]}', "s")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[" * 100_000,
        b'"v1"',
        b'{"name": "a"}',
        b'{"tags": "v1"}',
        b'{"tags": ["v1", 2]}',
        b'{"tags": ["v1", "../../etc"]}',
        b'{"tags": ["v1\\n"]}',
    ],
)
def test_a_list_that_cannot_be_read_whole_is_refused(body: bytes) -> None:
    with pytest.raises(RegistryProtocolError, match=r"^r/a:"):
        parse_tags(body, "r/a")


@pytest.mark.parametrize(
    ("link", "path"),
    [
        (None, None),
        ("", None),
        ('</v2/a/b/tags/list?last=v2>; rel="prev"', None),
        ('</v2/a/b/tags/list?last=v2>; rel="next"', "/v2/a/b/tags/list?last=v2"),
        ("</v2/a/b/tags/list?last=v2>; rel=next", "/v2/a/b/tags/list?last=v2"),
        ('<?last=v2>; title="x"; rel="next"', "/v2/a/b/tags/list?last=v2"),
        ("<https://r.example/v2/x>; rel=next", "/v2/x"),
        # Behind a proxy that ends TLS.
        ("<http://r.example/v2/x?n=1>; rel=next", "/v2/x?n=1"),
        ('</v2/p>; rel="prev", </v2/n>; rel="next"', "/v2/n"),
    ],
)
def test_the_next_page_is_the_one_linked_as_next(
    link: str | None, path: str | None
) -> None:
    assert next_page(link, URL, "s") == path


@pytest.mark.parametrize(
    "link",
    [
        "<https://evil.example/v2/a/b/tags/list>; rel=next",
        "<//evil.example/v2/x>; rel=next",
        "</admin>; rel=next",
        "<https://[/v2/>; rel=next",
        "<file:///v2/x>; rel=next",
    ],
)
def test_a_next_page_elsewhere_is_refused(link: str) -> None:
    with pytest.raises(RegistryProtocolError):
        next_page(link, URL, "s")


@given(st.text() | st.builds("<{}>; rel=next".format, st.text()))
def test_any_link_is_followed_within_the_registry_or_not_at_all(link: str) -> None:
    with contextlib.suppress(RegistryProtocolError):
        path = next_page(link, URL, "s")
        assert path is None or path.startswith("/v2/")
