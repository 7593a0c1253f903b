"""The HTTP server of the receiver in this process, and raw connections to it."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask, Response, request, send_file
from gunicorn.config import Config

from webhook.wire import HttpServer, PeerLimits, RequestHead, RequestPolicy, WsgiRunner

DEADLINE_SECONDS = 30.0
TICK_SECONDS = 0.02


def any_megabyte(head: RequestHead) -> int:
    """Wait for a megabyte of everybody's."""
    return 1_000_000


def is_hook(head: RequestHead) -> bool:
    return head.path.startswith("/hooks/")


def is_probe(head: RequestHead) -> bool:
    return head.path == "/healthz"


@dataclass
class RawConnection:
    """One connection, read and written as bytes."""

    sock: socket.socket

    def say(self, text: str | bytes) -> None:
        self.sock.sendall(text.encode() if isinstance(text, str) else text)

    def drip(self) -> None:
        """Send one byte more, if the other side still listens."""
        with suppress(OSError):
            self.sock.send(b"x")

    def answer(self) -> tuple[int, bytes]:
        """Read one answer to its end; return status and body."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.sock.recv(1)
            assert byte, f"closed after {head!r}"
            head += byte
        lines = head.decode("latin-1").lower().split("\r\n")
        length = next(
            (int(line[15:]) for line in lines if line.startswith("content-length:")), 0
        )
        body = bytearray()
        while len(body) < length:
            more = self.sock.recv(length - len(body))
            assert more, "cut short"
            body += more
        return int(head.split()[1]), bytes(body)

    def ask(self, path: str = "/", *more: str) -> tuple[int, bytes]:
        self.say("\r\n".join([f"GET {path} HTTP/1.1", "Host: h", *more, "", ""]))
        return self.answer()

    def is_closed(self) -> bool:
        """Wait until the other side says something or closes; True when it closes."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionError:
            return True


@dataclass
class RunningHttpServer:
    """A server at work, and how to connect to it."""

    address: tuple[str, int]
    stack: ExitStack
    stop: Callable[[], None]

    def peer(self, *, receive_bytes: int | None = None) -> RawConnection:
        """Connect; the kernel takes ``receive_bytes`` of answers that nobody reads."""
        sock = self.stack.enter_context(socket.socket())
        if receive_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.settimeout(DEADLINE_SECONDS)
        sock.connect(self.address)
        return RawConnection(sock)


@contextmanager
def run_http_server(
    application: Callable[..., Any],
    *,
    limits: PeerLimits | None = None,
    body_bytes: Callable[[RequestHead], int] = any_megabyte,
    client: Callable[[str, RequestHead], str] = lambda peer, _: peer,
    threads: int = 2,
) -> Iterator[RunningHttpServer]:
    """Serve an application, with so many threads for each of the pools."""
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as listener:
        server = HttpServer(
            [listener],
            WsgiRunner(Config(), application),
            RequestPolicy(body_bytes, is_hook, is_probe, client),
            limits or PeerLimits(tick_seconds=TICK_SECONDS),
            urgent_threads=threads,
            other_threads=threads,
        )
        read, write = os.pipe()
        stopping = threading.Event()
        thread = threading.Thread(
            target=server.run,
            args=(lambda: not stopping.is_set(),),
            kwargs={"wake": read, "grace_seconds": DEADLINE_SECONDS},
        )

        def stop() -> None:
            stopping.set()
            os.write(write, b"x")

        thread.start()
        try:
            yield RunningHttpServer(listener.getsockname(), stack, stop)
        finally:
            stop()
            stack.close()
            thread.join(DEADLINE_SECONDS)
            os.close(read)
            os.close(write)
            assert not thread.is_alive()


LARGE = bytes(range(256)) * 32_768  # 8 MiB, more than the kernel takes of an answer


class Pages:
    """An application with a page for each way of being slow."""

    def __init__(self, folder: Path) -> None:
        self.go_on = threading.Event()
        self.app = app = Flask("pages")
        self.read: list[bytes] = []
        large = folder / "large"
        large.write_bytes(LARGE)

        @app.route("/", methods=["GET", "POST"])
        def echo() -> bytes:
            self.read.append(request.get_data())
            return request.method.encode() + b" " + self.read[-1]

        @app.post("/hooks/<name>")
        def hook(name: str) -> tuple[str, int]:
            if name == "stranger":
                return "not found", 404
            self.read.append(request.get_data())
            return "taken", 202

        @app.get("/where/<name>")
        def where(name: str) -> dict[str, str]:
            return {
                "path": f"/where/{name}",
                "query": request.query_string.decode(),
                "host": request.host,
            }

        @app.get("/file")
        def file() -> Response:
            return send_file(large, max_age=1)

        @app.get("/page")
        def page() -> bytes:
            return LARGE

        @app.get("/slow")
        def slow() -> str:
            assert self.go_on.wait(30)
            return "slow"

        app.add_url_rule("/healthz", "healthz", lambda: "well")
        app.add_url_rule("/hooks/hanging", "hang", self._hang, methods=["POST"])

        @app.get("/fault")
        def fault() -> Response:
            return Response(parts(), headers={"Content-Length": "9"})

        def parts() -> Iterator[bytes]:
            yield b"half"
            raise RuntimeError("a fault")

    def _hang(self) -> tuple[str, int]:
        assert self.go_on.wait(30)
        return "taken", 202


def limits(**more: Any) -> PeerLimits:
    return PeerLimits(**{"tick_seconds": TICK_SECONDS, **more})


def hook(server: RunningHttpServer, name: str = "hub", body: str = "now") -> int:
    peer = server.peer()
    peer.say(f"POST /hooks/{name} HTTP/1.1\r\nHost: h\r\n")
    peer.say(f"Content-Length: {len(body)}\r\n\r\n{body}")
    return peer.answer()[0]
