"""The server below a server that misbehaves: it can hang up, and it can drip."""

import contextlib
import io
import socket
import socketserver
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event
from typing import TYPE_CHECKING

from tests.support.registries.certificates import ServerCertificate

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class LoopbackServer(ThreadingHTTPServer):
    """Serves on a free port of loopback, each connection in a thread."""

    daemon_threads = False  # joined at the end, so that no socket outlives a test

    def __init__(
        self, handler: type[BaseHTTPRequestHandler], tls: ServerCertificate | None
    ) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._open: set[socket.socket] = set()
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            # The handshake waits for the thread that reads: a client that never ends
            # it stops nobody else.
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )

    def process_request(
        self, request: "socketserver._RequestType", client_address: object
    ) -> None:
        assert isinstance(request, socket.socket)
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: "socketserver._RequestType") -> None:
        assert isinstance(request, socket.socket)
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that clients keep."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def handle_error(self, *_arguments: object) -> None:
        """Pass over clients that leave, which is what many tests make them do."""


class DrippingFile(io.BufferedIOBase):
    """Writes to another file byte by byte, with a pause before each."""

    def __init__(self, file: io.BufferedIOBase, pause: float, is_over: Event) -> None:
        self._file = file
        self._pause = pause
        self._is_over = is_over

    def write(self, data: "ReadableBuffer", /) -> int:
        view = memoryview(data)
        for at in range(len(view)):
            if self._is_over.wait(self._pause):
                break
            self._file.write(view[at : at + 1])
        return len(view)
