"""Whose word on who asks is believed, and where it ends."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.harness.web_app import WebApp
from webhook.web.proxies import TrustedProxies, init_app, parse_address

PROXIES = TrustedProxies(
    [
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("2001:db8:1::/48"),
        ipaddress.ip_network("203.0.113.5"),
    ]
)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        # Nobody whom we know: what they say is nothing.
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),
        ("2001:db8:2::1", "198.51.100.1", "2001:db8:2::1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        # The first from the right that is not a proxy; further left is invention.
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1,198.51.100.1 , 10.2.3.4", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.5, 2001:db8:1::7", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.9, 198.51.100.1", "198.51.100.1"),
        # All of them are proxies: the one that began.
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        # What cannot be read ends it where it stands.
        ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, , 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2, 10.0.0.256", "10.0.0.1"),
        ("10.0.0.1", "_hidden, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "198.51.100.1%1", "10.0.0.1"),
        ("10.0.0.1", ",", "10.0.0.1"),
        # One address, one form.
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8:2::1]:4711", "2001:db8:2::1"),
        ("10.0.0.1", "[2001:DB8:2:0::1]", "2001:db8:2::1"),
        ("10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:192.0.2.1", "198.51.100.1", "192.0.2.1"),
        ("fe80::1%eth0", "198.51.100.1", "fe80::1"),
        # A unix socket has no address that somebody could name.
        ("", "198.51.100.1", ""),
        ("@abstract", "198.51.100.1", "@abstract"),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_no_proxy(
    peer: str, forwarded: str, client: str
) -> None:
    assert PROXIES.client(peer, forwarded) == client


def test_without_trusted_proxies_the_address_is_the_peers() -> None:
    nobody = TrustedProxies([])
    assert nobody.client("10.0.0.1", "198.51.100.1") == "10.0.0.1"
    assert nobody.client("127.0.0.1", "198.51.100.1") == "127.0.0.1"


@given(st.text(alphabet=st.sampled_from("0123456789abcdef.:,[]% _x"), max_size=60))
def test_whatever_a_header_says_an_address_comes_of_it(forwarded: str) -> None:
    client = PROXIES.client("10.0.0.1", forwarded)
    assert parse_address(client) is not None
    # What an untrusted client puts before its own address changes nothing.
    seen = f"{forwarded}, 198.51.100.1"
    assert PROXIES.client("10.0.0.1", seen) == "198.51.100.1"


@pytest.mark.parametrize(
    ("peer", "said", "scheme"),
    [
        ("10.0.0.1", "https", "https"),
        ("10.0.0.1", "http, HTTPS", "https"),
        ("10.0.0.1", "https, http", "http"),
        ("10.0.0.1", "gopher", "http"),
        ("10.0.0.1", "", "http"),
        ("192.0.2.1", "https", "http"),
        ("", "https", "http"),
    ],
)
def test_the_scheme_is_what_the_nearest_trusted_proxy_says(
    web: WebApp, peer: str, said: str, scheme: str
) -> None:
    init_app(web.app, PROXIES)
    seen: list[str] = []

    def look() -> str:
        from flask import request  # noqa: PLC0415

        seen.append(f"{request.scheme} {request.remote_addr}")
        return ""

    web.app.add_url_rule("/look", view_func=look)
    web.client.get(
        "/look",
        headers={"X-Forwarded-Proto": said},
        environ_base={"REMOTE_ADDR": peer},
    )
    assert seen == [f"{scheme} {peer}"]
