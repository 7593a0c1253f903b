"""Whom the client is to each registry: with its credentials, as nobody, as a guest.

A connection is kept for each registry that was named, and goes with that one's
authorities and proxy wherever the registry redirects.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

from workers.reference import DOCKER_HUB
from workers.registry.auth.access import Credentials, RegistryAccess
from workers.registry.auth.tokens import Authenticator, TokenCache
from workers.registry.transport.addresses import AddressGuard
from workers.registry.transport.origin import DEFAULT_PORTS, Origin, host_and_port
from workers.registry.transport.proxies import Proxies
from workers.registry.transport.session import RegistrySession
from workers.registry.transport.transport import Timeouts, Transport


class Sessions:
    """Makes sessions, and keeps those with our credentials; safe from several threads.

    Args:
        accesses: see ``RegistryClient``.
        guard: opens the connections.
        timeouts: for every connection.
        sleep: waits for tokens.
        proxies: of the environment.
    """

    def __init__(
        self,
        accesses: Mapping[str, RegistryAccess],
        guard: AddressGuard,
        timeouts: Timeouts,
        sleep: Callable[[float], None],
        proxies: Proxies,
    ) -> None:
        self._accesses = accesses
        self._guard = guard
        self._timeouts = timeouts
        self._sleep = sleep
        self._proxies = proxies
        self._tokens = TokenCache()
        self._transports: dict[str, Transport] = {}
        self._sessions: dict[str, RegistrySession] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections that are kept."""
        for transport in self._transports.values():
            transport.close()

    def has_credentials(self, host: str) -> bool:
        """Whether we log in at a registry."""
        return self._access(host).credentials is not None

    def session(self, host: str) -> RegistrySession:
        """Return the session with our credentials."""
        access = self._access(host)
        transport = self._transport(access)
        with self._lock:
            session = self._sessions.get(host)
            if session is None:
                session = self._sessions[host] = self._opened(
                    access, transport, lambda: access.credentials, self._tokens
                )
            return session

    def nobody(self, host: str) -> RegistrySession:
        """Return a session without credentials, and without a token from before.

        A repository that has become private since would still take that.
        """
        access = self._access(host)
        transport = self._transport(access)
        return self._opened(access, transport, lambda: None, TokenCache())

    def _opened(
        self,
        access: RegistryAccess,
        transport: Transport,
        credentials: Callable[[], Credentials | None],
        tokens: TokenCache,
    ) -> RegistrySession:
        def guest(origin: Origin) -> Authenticator:
            there = self._access_at(origin)
            return Authenticator(there, lambda: None, transport, tokens)

        ours = Authenticator(access, credentials, transport, tokens)
        return RegistrySession(access, transport, ours, guest=guest, sleep=self._sleep)

    def _access(self, host: str) -> RegistryAccess:
        return self._accesses.get(host) or RegistryAccess(host)

    def _access_at(self, origin: Origin) -> RegistryAccess:
        host = str(origin).partition("://")[2]
        hub = self._access(DOCKER_HUB)
        access = hub if host == hub.api_host else self._access(host)
        return replace(access, plain_http=origin.scheme == "http")

    def _transport(self, access: RegistryAccess) -> Transport:
        with self._lock:
            transport = self._transports.get(access.host)
            if transport is None:
                transport = self._transports[access.host] = Transport(
                    self._guard,
                    ca_file=access.ca_file,
                    timeouts=self._timeouts,
                    proxy=self._proxy(access),
                )
            return transport

    def _proxy(self, access: RegistryAccess) -> Callable[[Origin], str | None]:
        given = access.proxy
        if given is None:
            return self._proxies.towards
        return lambda _origin: given or None


def internal_places(
    accesses: Mapping[str, RegistryAccess], internal_hosts: frozenset[str]
) -> frozenset[tuple[str, int]]:
    """Return host and port of all that the operator vouched for.

    The token servers of an internal registry were named by the operator as well.

    Args:
        accesses: see ``RegistryClient``.
        internal_hosts: likewise.
    """
    named = set(internal_hosts)
    for host in internal_hosts:
        access = accesses.get(host) or RegistryAccess(host)
        named |= {access.api_host, *access.token_hosts}
    places = set()
    for text in named:
        host, port = host_and_port(text)
        ports = DEFAULT_PORTS.values() if port is None else (port,)
        places |= {(host, p) for p in ports}
    return frozenset(places)
