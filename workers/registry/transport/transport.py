"""One HTTP request to one checked address, and what comes back.

With ``connections`` the one room that knows requests and urllib3. It follows no
redirect, adds no credentials and lets no foreign exception out.

It uses requests' adapter below its ``Session``: a session reads proxies and ``.netrc``
from the environment, keeps cookies, and follows redirects by rules that are not ours.
"""

import functools
import http.client
import importlib.metadata
import logging
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import requests
import urllib3.exceptions

from workers.errors import WorkerError
from workers.registry.transport.addresses import AddressGuard
from workers.registry.transport.answers import (
    AnswerTooLarge,
    RegistryProtocolError,
    RegistryUnavailable,
    unwished_encoding,
)
from workers.registry.transport.connections import (
    CheckedAdapter,
    TwoLengths,
    UntrustedCertificate,
    trust,
)
from workers.registry.transport.deadlines import within
from workers.registry.transport.origin import Origin

_log = logging.getLogger(__name__)

_BODY_BLOCK = 65536
# What OpenSSL calls an answer that is no TLS record at all.
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"})

# How the standard library says that a proxy refuses to connect.
_TUNNEL = re.compile(r"Tunnel connection failed: ([0-9]{3})")
# OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED.
_OUT_OF_DATE = frozenset({9, 10})

# All that requests, urllib3 and the standard library raise on a bad day. requests'
# errors are OSErrors; UnicodeError and urllib3's LocationValueError are ValueErrors.
_FOREIGN_ERRORS = (
    OSError,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a registry may keep us waiting.

    Attributes:
        connect_seconds: for one address to accept a connection.
        head_seconds: for one answer to have begun: all addresses, TLS, all headers.
        stall_seconds: without (nearly) a byte, after which a connection is given up.
        answer_seconds: for the whole body of an answer that is not a blob.
        request_seconds: for all that it takes until what was asked for begins to come:
            challenge, token, redirects.
    """

    connect_seconds: float = 10.0
    head_seconds: float = 30.0
    stall_seconds: float = 30.0
    answer_seconds: float = 60.0
    request_seconds: float = 90.0


class Answer:
    """An HTTP answer whose body has not been read yet; a ``with`` block closes it.

    Attributes:
        status: of HTTP.
        headers: case-insensitive.
        origin: who answered.
    """

    def __init__(
        self,
        response: requests.Response,
        origin: Origin,
        timeouts: Timeouts,
        clock: Callable[[], float],
    ) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.origin = origin
        self._response = response
        self._timeouts = timeouts
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the connection go: kept if the body was read to its end."""
        self._response.close()

    def read(self, size: int) -> bytes:
        """Return what has arrived, 1 to ``size`` bytes as sent; ``b""`` at the end.

        Raises:
            RegistryUnavailable: the connection broke, or nothing came for too long.
        """
        try:
            # What lies between the bytes, as the lines before chunks, does not count.
            with within(self._timeouts.stall_seconds):
                # The raw bytes, whatever Content-Encoding says: digests are over these.
                return self._response.raw.read1(size, decode_content=False) or b""
        except _FOREIGN_ERRORS as error:
            raise _unreachable(error, self.origin) from error

    def body(self, limit_bytes: int, subject: str) -> bytes:
        """Return the whole body, a document; an error speaks of ``subject``.

        Raises:
            AnswerTooLarge: it has more than ``limit_bytes``.
            RegistryProtocolError: it is encoded.
            RegistryUnavailable: as ``read``, or it took longer than an answer may.
        """
        body = b"".join(self._pieces(limit_bytes + 1))
        if len(body) > limit_bytes:
            raise AnswerTooLarge(
                f"{subject}: {self.origin} answered with more than {limit_bytes} bytes"
            )
        encoding = unwished_encoding(self.headers)
        if encoding is not None and not body.lstrip()[:1] == b"{":
            raise RegistryProtocolError(
                f"{subject}: {self.origin} answered with Content-Encoding {encoding},"
                " which was not asked for: let its proxy leave answers as they are"
            )
        return body

    def excerpt(self, limit_bytes: int) -> bytes:
        """Return the first bytes of the body, or none where they cannot be had."""
        try:
            return b"".join(self._pieces(limit_bytes))
        except WorkerError:
            return b""

    def _pieces(self, limit_bytes: int) -> Iterator[bytes]:
        deadline = self._clock() + self._timeouts.answer_seconds
        missing = limit_bytes
        while missing:
            piece = self.read(min(missing, _BODY_BLOCK))
            if not piece:
                return
            missing -= len(piece)
            yield piece
            if self._clock() > deadline:
                raise RegistryUnavailable(
                    f"{self.origin} takes longer than "
                    f"{self._timeouts.answer_seconds:g} s for an answer"
                )


class Transport:
    """Sends requests over connections that are kept; safe from several threads."""

    def __init__(
        self,
        guard: AddressGuard,
        *,
        ca_file: Path | None = None,
        timeouts: Timeouts | None = None,
        proxy: Callable[[Origin], str | None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.timeouts = timeouts or Timeouts()
        self._guard = guard
        self._ca_file = ca_file
        self._proxy = proxy
        self._clock = clock
        self._user_agent = f"cvmfs-webhook/{_version()}"
        self._plain = CheckedAdapter(guard, None)

    @functools.cached_property
    def _tls(self) -> CheckedAdapter:
        # Reading the trust store takes tens of milliseconds, which a registry without
        # TLS need not pay. Two threads may each make one; either serves.
        return CheckedAdapter(self._guard, trust(self._ca_file))

    def close(self) -> None:
        """Close the connections that are kept."""
        self._plain.close()
        if "_tls" in self.__dict__:
            self._tls.close()

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> Answer:
        """Send one request and return the answer, whatever its status.

        Raises:
            RegistryUnavailable: nobody answers, or not in time.
            RegistryProtocolError: the URL cannot be sent, or no TLS is spoken there.
            UntrustedCertificate: see there.
            RefusedAddress: the host leads into a private network.
        """
        origin = Origin.of(url)
        headers = {
            "User-Agent": self._user_agent,
            "Accept-Encoding": "identity",
            **headers,
        }
        try:
            request = requests.Request(method, url, headers, data=body).prepare()
        except _FOREIGN_ERRORS as error:
            raise _unreachable(error, origin) from error
        if request.url is None or Origin.of(request.url) != origin:
            # Two parsers that disagree about the host are a hole in every check.
            raise RegistryProtocolError(f"{origin} is named by an ambiguous URL")
        try:
            with within(self.timeouts.head_seconds):
                response = self._send(request, origin)
        except _FOREIGN_ERRORS as error:
            failure = _unreachable(error, origin)
            # The library's message holds the URL, whose query may be a signature.
            raise failure from (None if "?" in url else error)
        _log.debug("%s %s %s", method, origin, response.status_code)
        return Answer(response, origin, self.timeouts, self._clock)

    def _send(
        self, request: requests.PreparedRequest, origin: Origin
    ) -> requests.Response:
        adapter = self._tls if origin.scheme == "https" else self._plain
        timeout = (self.timeouts.connect_seconds, self.timeouts.stall_seconds)
        proxy = self._proxy(origin)
        if proxy is not None:
            self._guard.check_behind_proxy(origin.host, origin.port)
        proxies = {} if proxy is None else {origin.scheme: proxy}
        send = functools.partial(
            adapter.send, request, stream=True, timeout=timeout, proxies=proxies
        )
        try:
            return send()
        except requests.ConnectionError as error:
            if not any(isinstance(e, ConnectionError) for e in _causes(error)):
                raise
            if any(isinstance(e, ConnectionRefusedError) for e in _causes(error)):
                raise
        # A kept connection that the other side closed in this very moment.
        return send()


def _version() -> str:
    try:
        return importlib.metadata.version("cvmfs-webhook")
    except importlib.metadata.PackageNotFoundError:
        return "0"  # run from a checkout that is not installed


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and all that it wraps, by whatever means a library wraps."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop()
        if not isinstance(cause, BaseException) or cause in seen:
            continue
        seen.append(cause)
        yield cause
        waiting += [cause.__cause__, cause.__context__, getattr(cause, "reason", None)]
        waiting += cause.args


def _unreachable(error: BaseException, origin: Origin) -> WorkerError:
    """Return our error for a library's, whose own text would carry the URL."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            mend = (
                "it has to be renewed, or a clock set right"
                if cause.verify_code in _OUT_OF_DATE
                else "name its authority as ca_file under registries in the"
                " configuration"
            )
            return UntrustedCertificate(
                f"{origin}: its certificate is not trusted ({cause.verify_message}); "
                f"{mend}"
            )
        if isinstance(cause, ssl.SSLError) and cause.reason in _NOT_TLS:
            return RegistryProtocolError(
                f"{origin} does not speak TLS; set plain_http: true under registries "
                "in the configuration if that is meant"
            )
    if isinstance(error, ValueError):
        return RegistryProtocolError(
            f"{origin}: the request cannot be written ({type(error).__name__})"
        )
    return RegistryUnavailable(f"{origin} {_symptom(causes)}")


def _symptom(causes: list[BaseException]) -> str:
    timeouts = (TimeoutError, urllib3.exceptions.TimeoutError, requests.Timeout)
    for cause in causes:
        if isinstance(cause, OSError) and (said := _TUNNEL.match(str(cause))):
            return f"cannot be reached through its proxy, which answered {said[1]}"
        if isinstance(cause, urllib3.exceptions.ProxyError):
            return f"cannot be reached: its proxy {_symptom(causes[1:])}"
        if isinstance(cause, socket.gaierror):
            return "has a name that cannot be resolved"
        if isinstance(cause, ConnectionRefusedError):
            return "refuses connections"
        if isinstance(cause, TwoLengths):
            return "announces two lengths of one answer"
    if any(
        isinstance(cause, timeouts)
        and not isinstance(cause, urllib3.exceptions.NewConnectionError)
        for cause in causes
    ):
        return "does not answer in time"
    return f"broke the connection ({type(causes[-1]).__name__})"
