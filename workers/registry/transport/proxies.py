"""Which HTTP proxy leads to a place.

Pure. A proxy that a registry was given counts for all that belongs to it, its token
server and its storage; else what the environment says counts, as for curl and Go.
"""

import ipaddress
import re
from dataclasses import dataclass, field

from workers.registry.transport.origin import Origin, host_and_port

_BETWEEN = re.compile(r"[\s,]+")


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies that the environment names; URLs may hold passwords.

    Attributes:
        https: towards places that speak TLS, http://[user:password@]host:port.
        http: towards others.
        exempt: what is reached without, as in ``NO_PROXY``: hosts, with all that is in
            their domains, host:port, addresses, networks, or ``*``.
    """

    https: str | None = field(default=None, repr=False)
    http: str | None = field(default=None, repr=False)
    exempt: str = ""

    def towards(self, origin: Origin) -> str | None:
        """Return the proxy towards a place; None: it is reached without."""
        proxy = self.https if origin.scheme == "https" else self.http
        if proxy is None or _is_local(origin.host):
            return None
        entries = filter(None, _BETWEEN.split(self.exempt))
        is_exempt = any(_covers(entry.lower(), origin) for entry in entries)
        return None if is_exempt else proxy


def _is_local(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _covers(entry: str, origin: Origin) -> bool:
    if entry == "*":
        return True
    address = _address(origin.host)
    try:
        if address is not None and address in ipaddress.ip_network(entry, strict=False):
            return True
        host, port = host_and_port(entry)
    except ValueError:
        host, port = entry.strip("[]"), None
    domain = host.removeprefix("*").removeprefix(".")
    is_in = origin.host == domain or origin.host.endswith(f".{domain}")
    return bool(domain) and is_in and port in {None, origin.port}


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
