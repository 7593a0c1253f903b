"""An HTTP proxy on loopback, to which every name is this machine."""

import contextlib
import socket
import socketserver
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_SECONDS = 30.0


class ForwardProxy:
    """Forwards what it is asked to.

    Attributes:
        host: ``127.0.0.1:<port>``.
        refuse: answer every request with this status; None: none is refused.
        asked: methods and targets of the requests, and their ``Proxy-Authorization``.
    """

    def __init__(self) -> None:
        self.refuse: int | None = None
        self.asked: list[tuple[str, str, str | None]] = []
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(socketserver.StreamRequestHandler):
    server: "_Server"
    timeout = _SECONDS

    def handle(self) -> None:
        first = self.rfile.readline().decode().split()
        if len(first) != 3:
            return
        lines = []
        while (line := self.rfile.readline()).strip():
            lines.append(line)
        headers = dict(line.decode().strip().split(": ", 1) for line in lines)
        method, target, _ = first
        owner = self.server.owner
        owner.asked.append((method, target, headers.get("Proxy-Authorization")))
        if owner.refuse is not None:
            answer = f"HTTP/1.1 {owner.refuse} No\r\nContent-Length: 0\r\n\r\n"
            self.wfile.write(answer.encode())
            return
        parts = urlsplit(target if method != "CONNECT" else f"//{target}")
        place = ("127.0.0.1", parts.port or 80)
        with socket.create_connection(place, timeout=_SECONDS) as there:
            if method == "CONNECT":
                self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                path = f"{parts.path}?{parts.query}" if parts.query else parts.path
                kept = b"".join(x for x in lines if not x.startswith(b"Connection"))
                head = f"{method} {path} HTTP/1.1\r\n".encode()
                there.sendall(head + kept + b"Connection: close\r\n\r\n")
            self._relay(there)

    def _relay(self, there: socket.socket) -> None:
        back = threading.Thread(target=_copy, args=(there, self.connection))
        back.start()
        _copy(self.connection, there)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for each, how in ((target, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with contextlib.suppress(OSError):
            each.shutdown(how)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, owner: ForwardProxy) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner
