import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.registry.listing.answers import next_page, parse_repositories, parse_tags
from workers.registry.transport.answers import RegistryProtocolError

ASKED = "/v2/a/b/tags/list"


def test_a_page_lists_its_tags_in_order() -> None:
    assert parse_tags(b'{"name": "a/b", "tags": ["v2", "v1"]}', "s") == ["v2", "v1"]


@pytest.mark.parametrize("body", [b'{"name": "a", "tags": null}', b'{"tags": []}'])
def test_a_repository_may_have_no_tags(body: bytes) -> None:
    assert parse_tags(body, "s") == []


def test_a_catalog_lists_repositories() -> None:
    assert parse_repositories(b'{"repositories": ["a/b", "c"]}', "s") == ["a/b", "c"]


def test_what_cannot_be_named_is_passed_over_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    body = b'{"repositories": ["../etc", "a/b", "", "A/b"]}'
    assert parse_repositories(body, "s") == ["a/b"]
    assert "s: 3 of the list cannot be named" in caplog.text
    assert "'../etc'" in caplog.text
    assert parse_tags(b'{"tags": ["v1\\n", "v1"]}', "s") == ["v1"]


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
        ('</v2/a/b/tags/list?last=v2>; rel="next"', f"{ASKED}?last=v2"),
        ("</v2/a/b/tags/list?last=v2>; rel=next", f"{ASKED}?last=v2"),
        ('<?last=v2>; title="x"; rel="next"', f"{ASKED}?last=v2"),
        # Behind a proxy that ends TLS, that has another name, or shows a part.
        ("<http://r.example/v2/a/b/tags/list?n=1>; rel=next", f"{ASKED}?n=1"),
        ("<https://inside.example/v2/a/b/tags/list?n=1>; rel=next", f"{ASKED}?n=1"),
        ("</repository/docker/v2/a/b/tags/list?n=1>; rel=next", f"{ASKED}?n=1"),
        ("</v2/another/tags/list?last=v2&n=2>; rel=next", f"{ASKED}?last=v2&n=2"),
        ("<file:///etc/passwd?n=3>; rel=next", f"{ASKED}?n=3"),
        ("<https://[/v2/?n=3>; rel=next", ASKED),
        ("</v2/a/b/tags/list>; rel=next", ASKED),
        ('</v2/p?n=1>; rel="prev", </v2/n?n=2>; rel="next"', f"{ASKED}?n=2"),
    ],
)
def test_of_the_page_that_is_linked_as_next_the_query_counts(
    link: str | None, path: str | None
) -> None:
    assert next_page(link, f"{ASKED}?n=2") == path


@given(st.text() | st.builds("<{}>; rel=next".format, st.text()))
def test_any_link_stays_with_the_list_that_was_asked_for(link: str) -> None:
    path = next_page(link, f"{ASKED}?n=2")
    assert path is None or path.partition("?")[0] == ASKED
