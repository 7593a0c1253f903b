"""Connections that go where an ``AddressGuard`` says, under TLS that is verified."""

import http.client
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests.adapters
import requests.utils
import urllib3
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions

from workers.errors import Hindrance
from workers.registry.transport.addresses import AddressGuard
from workers.registry.transport.deadlines import TimelyTlsSocket

# Layers of one image are fetched side by side; nobody uses more connections than this.
_KEPT_CONNECTIONS = 16


_MOST_INTERIM_ANSWERS = 20
# 101 is an answer: to who wants to speak something else.
_INTERIM = frozenset(range(102, 200))


class UntrustedCertificate(Hindrance):
    """TLS works, but who answered cannot show to be who we meant."""


class TwoLengths(http.client.HTTPException):
    """An answer that announces two lengths."""


class FinalResponse(http.client.HTTPResponse):
    """The answer, and not one of those that only say that it will come.

    The standard library passes over 100 alone; 102 and 103 are none either.

    Source: RFC 9110 15.2.
    """

    def begin(self) -> None:
        """Read status and headers, of the last of several."""
        for _ in range(_MOST_INTERIM_ANSWERS):
            super().begin()
            if self.status not in _INTERIM:
                self._agree_on_length()
                return
            # Which is how the base class knows that there are none yet.
            self.headers = None  # type: ignore[assignment] # typeshed says always
        raise http.client.HTTPException("interim answers without end")

    def _agree_on_length(self) -> None:
        """See that two lengths are the same: where they differ, nobody knows the end.

        Source: RFC 9110 8.6.
        """
        said = ",".join(self.headers.get_all("Content-Length", []))
        lengths = {each.strip() for each in said.split(",")}
        if len(lengths) > 1:
            raise TwoLengths
        if "," in said and not self.chunked and (length := lengths.pop()).isdecimal():
            self.length, self.will_close = int(length), False


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the system, requests' own list, and ``ca_file``.

    ``ca_file`` comes on top because a registry with a private authority may redirect
    to a storage with a public one.

    Raises:
        UntrustedCertificate: ``ca_file`` cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    # All of what is checked, as the defaults differ from one Python to the next: the
    # name, the dates, and the signatures up to a certificate that is trusted, whether
    # that has signed itself or not, as Go's clients take it. Not the strict profile of
    # RFC 5280, which 3.13 asks for: private authorities often lack key identifiers.
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = TimelyTlsSocket
    context.load_verify_locations(requests.utils.DEFAULT_CA_BUNDLE_PATH)
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            raise UntrustedCertificate(
                f"{ca_file}: cannot be read as certificates ({error.strerror}); give "
                "a PEM file as ca_file"
            ) from error
    return context


class CheckedAdapter(requests.adapters.HTTPAdapter):
    """requests' adapter, its every connection opened by a guard."""

    def __init__(self, guard: AddressGuard, tls: ssl.SSLContext | None) -> None:
        """Make an adapter.

        Args:
            guard: opens the connections.
            tls: None for an adapter that is used for plain HTTP only.
        """
        super().__init__()
        self.poolmanager = urllib3.PoolManager(
            num_pools=_KEPT_CONNECTIONS,
            maxsize=_KEPT_CONNECTIONS,
            ssl_context=tls,
        )
        self.poolmanager.pool_classes_by_scheme = _pools(guard.connect)
        self._tls = tls
        self._pools_of_proxies = _pools(guard.connect_to_proxy)

    def proxy_manager_for(self, proxy: Any, **settings: Any) -> Any:
        """Return what keeps the connections to a proxy; called by requests."""
        manager = super().proxy_manager_for(proxy, ssl_context=self._tls, **settings)
        manager.pool_classes_by_scheme = self._pools_of_proxies
        return manager

    def cert_verify(
        self, conn: Any, _url: object, _verify: object, _cert: object
    ) -> None:
        """Demand a certificate; called by requests for every request.

        requests would have its own list of authorities read again into the context for
        every new connection. The context has all that it needs.
        """
        conn.cert_reqs = "CERT_REQUIRED"


def _pools(
    opened: Callable[[str, int, float], socket.socket],
) -> dict[str, type[urllib3.connectionpool.HTTPConnectionPool]]:
    """Return urllib3's pools by scheme, over connections that ``opened`` opens.

    urllib3 hands a connection its arguments through a key of fixed fields, which has no
    place for that; so it comes by closure.
    """

    def connect(connection: urllib3.connection.HTTPConnection) -> socket.socket:
        host, port = connection.host.strip("[]"), connection.port
        # Always a number here: Transport gives every request its timeouts.
        seconds = connection.timeout
        assert isinstance(seconds, int | float)  # noqa: S101 - for mypy
        try:
            sock = opened(host, port, seconds)
        except TimeoutError as error:
            raise urllib3.exceptions.ConnectTimeoutError(connection, host) from error
        except OSError as error:
            raise urllib3.exceptions.NewConnectionError(connection, host) from error
        for option in connection.socket_options or ():
            sock.setsockopt(*option)
        sys.audit("http.client.connect", connection, connection.host, port)
        return sock

    class PlainConnection(urllib3.connection.HTTPConnection):
        response_class = FinalResponse

        def _new_conn(self) -> socket.socket:
            return connect(self)

    class TlsConnection(urllib3.connection.HTTPSConnection):
        response_class = FinalResponse

        def _new_conn(self) -> socket.socket:
            return connect(self)

    class PlainPool(urllib3.connectionpool.HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class TlsPool(urllib3.connectionpool.HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": PlainPool, "https": TlsPool}
