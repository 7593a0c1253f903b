import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.registry.transport.origin import InvalidUrl, Origin, host_and_port


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        (
            "https://Registry.example.ORG/v2/",
            Origin("https", "registry.example.org", 443),
        ),
        ("http://127.0.0.1:5000/a?b@c", Origin("http", "127.0.0.1", 5000)),
        ("https://[2001:DB8::1]:5000", Origin("https", "2001:db8::1", 5000)),
    ],
)
def test_a_url_belongs_to_scheme_host_and_port(url: str, origin: Origin) -> None:
    assert Origin.of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "https://registry.example.org",
        "http://registry.example.org:443",
        "https://[::1]:5000",
    ],
)
def test_an_origin_prints_as_the_url_without_its_path(url: str) -> None:
    assert str(Origin.of(f"{url}/v2/?signature=x")) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/v2/",
        "//registry.example.org/v2/",
        "file:///etc/passwd",
        "ftp://example.org/",
        "https://",
        "https://user:password@example.org/",
        "https://example.org\\@evil.example/",
        "https://example.org:port/",
        "https://example.org:99999/",
        "https://[::1/",
    ],
)
def test_a_url_that_is_not_plainly_a_web_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidUrl) as refusal:
        Origin.of(url)
    assert "password" not in str(refusal.value)


@given(st.text() | st.builds("https://{}".format, st.text()))
def test_any_text_is_an_origin_or_refused(url: str) -> None:
    with contextlib.suppress(InvalidUrl):
        origin = Origin.of(url)
        assert Origin.of(str(origin)) == origin


def test_configured_hosts_split_into_host_and_port() -> None:
    assert host_and_port("registry.example.org") == ("registry.example.org", None)
    assert host_and_port("127.0.0.1:5000") == ("127.0.0.1", 5000)
    assert host_and_port("[::1]:5000") == ("::1", 5000)
