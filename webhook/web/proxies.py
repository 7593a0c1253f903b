"""Who asks, where a proxy stands in between: only the operator's proxies are believed.

``X-Forwarded-For`` is a list to which each proxy adds whom it heard from, on the right;
what stands further left may be anybody's invention. So it is read from the right, from
the peer on, for as long as an address is a trusted proxy's: the first that is not is
the client's. ``Forwarded`` (RFC 7239) is not read.

Source: MDN, "X-Forwarded-For", section "Selecting an IP address".
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flask import Flask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Some proxies write the client's port, too.
_WITH_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):[0-9]{1,5}", re.ASCII)
_IN_BRACKETS = re.compile(r"\[([0-9A-Fa-f:.]+)\]", re.ASCII)


def parse_address(text: str) -> Address | None:
    """Return an address in its one form; None: it is none.

    An IPv4 client of a socket for both families is an IPv4 client, and a zone says
    nothing to others.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


class TrustedProxies:
    """The proxies whose word on who asks is believed.

    Args:
        networks: where they are; none: nobody's word counts.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = tuple(networks)

    def trusts(self, address: Address | None) -> bool:
        """Whether an address is one of theirs."""
        # An address of one family is in no network of the other.
        return address is not None and any(address in each for each in self._networks)

    def client(self, peer: str, forwarded: str) -> str:
        """Return the address of the client.

        Args:
            peer: who is connected to us; empty for a unix socket.
            forwarded: ``X-Forwarded-For``, several of them joined by commas.
        """
        client = parse_address(peer)
        if client is None:
            return peer
        while forwarded and self.trusts(client):
            forwarded, _, entry = forwarded.rpartition(",")
            before = _forwarded_address(entry.strip())
            if before is None:
                break  # whoever wrote this, all that is left of it is worth nothing
            client = before
        return str(client)


def _forwarded_address(entry: str) -> Address | None:
    """Return the address in an entry; None: it has none, or a zone, which is ours."""
    if "%" in entry:
        return None
    match = _WITH_PORT.fullmatch(entry) or _IN_BRACKETS.fullmatch(entry)
    if match is not None:
        entry = next(group for group in match.groups() if group)
    return parse_address(entry)


def init_app(app: Flask, proxies: TrustedProxies) -> None:
    """Have every request of ``app`` come from its client, and by its scheme."""
    inner: WSGIApplication = app.wsgi_app

    def from_client(
        environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> "Iterable[bytes]":
        peer = environ.get("REMOTE_ADDR") or ""
        forwarded = environ.get("HTTP_X_FORWARDED_FOR", "")
        environ["REMOTE_ADDR"] = proxies.client(peer, forwarded)
        if proxies.trusts(parse_address(peer)):
            # The one next to us knows best; others may have stood before it.
            *_, scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").split(",")
            if scheme.strip().lower() in {"http", "https"}:
                environ["wsgi.url_scheme"] = scheme.strip().lower()
        return inner(environ, start_response)

    app.wsgi_app = from_client  # type: ignore[method-assign]  # as Flask says to
