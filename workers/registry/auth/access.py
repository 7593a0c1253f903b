"""What the client knows of one registry before it speaks to it.

The wiring layer makes these from the configuration; this package does not read it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from workers.reference import DOCKER_HUB

# Docker Hub answers under another name than the one that references carry.
_DOCKER_HUB_API = "registry-1.docker.io"
# Token servers at other hosts that are the registry's own without anybody saying so.
_KNOWN_TOKEN_HOSTS = {
    DOCKER_HUB: "auth.docker.io",
    "registry.gitlab.com": "gitlab.com",
    "gitlab-registry.cern.ch": "gitlab.cern.ch",
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What we log in as; the password shows itself in no ``repr``."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RegistryAccess:
    """How to reach one registry.

    Attributes:
        host: canonical host[:port] as in references, ``docker.io``.
        plain_http: no TLS; its token server may then do without it, too.
        username: with ``password``, what we log in as; absent: anonymous.
        password: see ``username``.
        read_password: gives another one from time to time, where it is renewed.
        ca_file: PEM certificates to trust besides the system's.
        proxy: HTTP proxy towards all that is the registry's; "": none; None: as the
            environment says.
        token_hosts: host[:port] that may be its token server, besides itself.
    """

    host: str
    plain_http: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    read_password: Callable[[], str] | None = field(default=None, repr=False)
    ca_file: Path | None = None
    proxy: str | None = field(default=None, repr=False)
    token_hosts: tuple[str, ...] = ()

    @property
    def scheme(self) -> str:
        """Scheme of its URLs."""
        return "http" if self.plain_http else "https"

    @property
    def api_host(self) -> str:
        """The host[:port] that answers under ``/v2/``."""
        return _DOCKER_HUB_API if self.host == DOCKER_HUB else self.host

    @property
    def trusted_token_hosts(self) -> tuple[str, ...]:
        """Token servers besides the registry itself, the well-known one included."""
        known = _KNOWN_TOKEN_HOSTS.get(self.host)
        return self.token_hosts if known is None else (known, *self.token_hosts)

    @property
    def credentials(self) -> Credentials | None:
        """What we log in as at this moment; None: anonymous."""
        read = self.read_password
        password = self.password if read is None else read()
        if self.username is None or password is None:
            return None
        return Credentials(self.username, password)
