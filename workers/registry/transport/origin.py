"""Whom a URL speaks to: scheme, host and port, the unit of trust.

Credentials are bound to an origin, redirects are judged by it, and messages name it in
place of the URL, whose query may be a signature.

Source: RFC 6454 4; RFC 3986 3.2.
"""

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from workers.errors import Hindrance

DEFAULT_PORTS = {"http": 80, "https": 443}


class InvalidUrl(Hindrance):
    """A URL, given by a registry, that we do not follow."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port.

    Attributes:
        scheme: ``http`` or ``https``.
        host: lower case, an IPv6 address without brackets.
        port: always explicit.
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Self:
        """Return the origin of an absolute URL.

        Raises:
            InvalidUrl: not http or https, no host, a user or password in it, or
                letters that belong into no URL.
        """
        if not url.isascii() or not url.isprintable():
            raise InvalidUrl("a registry gave a URL with other letters than URLs have")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise InvalidUrl(f"a registry gave a broken URL ({error})") from error
        if parts.scheme not in DEFAULT_PORTS or not host:
            raise InvalidUrl(
                f"a registry gave a URL of scheme {parts.scheme[:20]!r} and host "
                f"{(host or '')[:100]!r}: http and https with a host are followed"
            )
        if "@" in parts.netloc:
            # urllib3 and requests would send them as credentials.
            raise InvalidUrl(f"a registry gave a URL of {host[:100]!r} with a user")
        return cls(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme])

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


def host_and_port(text: str) -> tuple[str, int | None]:
    """Split ``host[:port]`` as configured; an IPv6 address loses its brackets."""
    parts = urlsplit(f"//{text}")
    return parts.hostname or "", parts.port
