"""From a host name to the address that is connected to, and no other.

A host that an image's name or a redirect brought along could point into our own network
(a metadata service, Redis): by a literal, by its DNS record, or by a record that
changes between a check and its use. So the look-up happens here, once; what it
returns is judged, and the judged address itself is connected to.

Source: IANA special-purpose address registries, as the ``ipaddress`` module knows them;
RFC 6052 2.1 (NAT64).
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence

from workers.errors import Hindrance
from workers.registry.transport.deadlines import TimelySocket, time_left

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LookUp = Callable[[str, int], Sequence[str]]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOW_32_BITS = 0xFFFFFFFF
# What only means something in one's own network: one word, a number in any form, and
# names that are set apart for that (RFC 6761, RFC 6762, RFC 8375, ICANN's .internal).
_NUMBER = r"(?:0x[0-9a-f]*|[0-9]+)"
_OURS = re.compile(
    rf"[^.]+|{_NUMBER}(?:\.{_NUMBER})*"
    r"|.*\.(?:internal|local|localhost|home\.arpa)",
    re.ASCII | re.IGNORECASE,
)


class RefusedAddress(Hindrance):
    """A host that leads into a private network and is not configured to do so."""

    def __init__(self, host: str, port: int, addresses: Sequence[str]) -> None:
        super().__init__(
            f"{host[:255]!r} port {port} is at {', '.join(addresses)[:200]}, which is "
            "not a public address: if that is meant, name the host and port under "
            "registries in the configuration"
        )
        self.host = host


def look_up(host: str, port: int) -> Sequence[str]:
    """Return the addresses of ``host`` as the system resolves it.

    Raises:
        OSError: there are none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        # A label that is empty or above 63 bytes never reaches the resolver.
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: Address) -> bool:
    """Tell whether ``address`` is on the public Internet, whatever form it hides in."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & _LOW_32_BITS))
        embedded = address.ipv4_mapped or address.sixtofour
        if embedded is not None:
            return is_public(embedded)
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class AddressGuard:
    """Opens connections, to public addresses and to configured hosts only."""

    def __init__(
        self,
        internal: frozenset[tuple[str, int]],
        *,
        look_up: LookUp = look_up,
    ) -> None:
        """Make a guard.

        Args:
            internal: host (lower case, no brackets) and port of every place that the
                operator named; these may be anywhere.
            look_up: for tests, which have no name server.
        """
        self._internal = internal
        self._look_up = look_up

    def addresses(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of ``host`` that may be connected to, in order.

        Raises:
            RefusedAddress: it has none but private ones.
            OSError: it has none at all.
        """
        found = self._look_up(host, port)
        if (host.lower(), port) in self._internal:
            return found
        allowed = [text for text in found if is_public(ipaddress.ip_address(text))]
        if not allowed:
            raise RefusedAddress(host, port, found)
        return allowed

    def check_behind_proxy(self, host: str, port: int) -> None:
        """Refuse to have a proxy connect to what we would not connect to.

        It looks the name up itself, and where it sits that may be another address: what
        it may connect to is for its own rules. Here that means something where a name
        or a literal leads into a private network from here, or can only mean one; a
        name that cannot be looked up here, as is usual behind a proxy, is left to it.

        Raises:
            RefusedAddress: it leads into a private network.
        """
        if (host.lower(), port) in self._internal:
            return
        try:
            self.addresses(host, port)
        except OSError as error:
            if _OURS.fullmatch(host):
                raise RefusedAddress(host, port, ["a name of a network"]) from error

    def connect(self, host: str, port: int, timeout_seconds: float) -> socket.socket:
        """Return a TCP connection to the first allowed address that answers.

        Each has so many seconds, and all together what ``deadlines.within`` says.

        Raises:
            RefusedAddress: see ``addresses``.
            OSError: no address answers; the last one's error.
        """
        return _connected(host, port, self.addresses(host, port), timeout_seconds)

    def connect_to_proxy(
        self, host: str, port: int, timeout_seconds: float
    ) -> socket.socket:
        """Return a TCP connection to a proxy, which the operator has named.

        Raises:
            OSError: as ``connect``.
        """
        return _connected(host, port, self._look_up(host, port), timeout_seconds)


def _connected(
    host: str, port: int, addresses: Sequence[str], timeout_seconds: float
) -> socket.socket:
    failure = OSError(f"{host} has no address")
    for address in addresses:
        try:
            # An address, so nothing is looked up a second time.
            plain = socket.create_connection(
                (address, port), time_left(timeout_seconds)
            )
        except OSError as error:
            failure = error
        else:
            timely = TimelySocket(fileno=plain.detach())
            timely.settimeout(timeout_seconds)
            return timely
    raise failure
