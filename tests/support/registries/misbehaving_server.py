"""An HTTP server on loopback that misbehaves on request.

What it is asked to do wrong applies to requests whose method is the given one (``""``:
any) and whose path contains the given regular expression, ``times`` times (None:
always). Several may apply to one request, in the order in which they were asked for.
"""

import dataclasses
import itertools
import re
import socket
import struct
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.support.registries.certificates import ServerCertificate
from tests.support.registries.slow_connections import DrippingFile, LoopbackServer

_READING = frozenset({"GET", "HEAD"})
_SUCCESS = frozenset({200, 206})
# Zeros before the size of a chunk are legal, and may be as many as one likes.
_ZEROS = b"0" * 1000
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, no time


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and how it is to be spoiled on its way.

    Attributes:
        cut: send no more of the body than this, then close.
        block: send the body in pieces of this many bytes.
        pause: seconds before each piece.
        is_chunked: leave Content-Length out.
        head_pause: send status and headers byte by byte, seconds before each.
        line_pause: likewise the lines before chunks, which say their size.
        is_silent: answer nothing until the registry is closed.
        is_reset: break the connection instead of answering.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    block: int | None = None
    pause: float = 0.0
    is_chunked: bool = False
    head_pause: float = 0.0
    line_pause: float = 0.0
    is_silent: bool = False
    is_reset: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived, and what it was answered."""

    method: str
    path: str
    headers: Mapping[str, str]
    status: int


@dataclass(slots=True)
class _Fault:
    method: str
    pattern: re.Pattern[str]
    times: int | None
    spoil: Callable[[str, Reply], Reply]
    statuses: Collection[int]
    is_refusal: bool = False

    def applies(self, method: str, path: str, status: int) -> bool:
        if status not in self.statuses or not self.may_apply(method, path):
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def may_apply(self, method: str, path: str) -> bool:
        is_asked = self.method in {"", method} and self.times != 0
        return is_asked and self.pattern.search(path) is not None


class MisbehavingServer:
    """Answers as ``right_reply`` says, until told to do otherwise.

    Attributes:
        host: ``127.0.0.1:<port>``.
        url: with the scheme, without a path.
    """

    def __init__(self, *, tls: ServerCertificate | None = None) -> None:
        self._faults: list[_Fault] = []
        self._seen: list[Seen] = []
        self._lock = threading.Lock()
        self.is_closed = threading.Event()
        self._server = _Server(self, tls)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{'http' if tls is None else 'https'}://{self.host}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.is_closed.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def right_reply(self, method: str, path: str, headers: Mapping[str, str]) -> Reply:
        """Return the answer of a server that behaves.

        Args:
            method: of the request.
            path: with the query.
            headers: by name, ``Capitalised-Like-This``.
        """
        raise NotImplementedError

    def written_reply(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        """Return the answer to what changes something; as ``right_reply``."""
        return Reply(501)

    def spoil(
        self,
        method: str,
        pattern: str,
        spoil: Callable[[str, Reply], Reply],
        *,
        times: int | None = None,
        statuses: Collection[int] = range(600),
    ) -> None:
        """Send what ``spoil`` makes of a request's path and its right answer.

        Only right answers of a status in ``statuses`` are touched, and counted.
        """
        fault = _Fault(method, re.compile(pattern), times, spoil, statuses)
        self._faults.append(fault)

    def mend(self) -> None:
        """Behave again."""
        with self._lock:
            self._faults.clear()

    def fail(
        self,
        method: str,
        pattern: str,
        *,
        status: int,
        times: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        """Answer with a status instead, and change nothing."""
        reply = Reply(status, headers or {}, body)
        fault = _Fault(
            method,
            re.compile(pattern),
            times,
            lambda _path, _reply: reply,
            range(600),
            is_refusal=True,
        )
        self._faults.append(fault)

    def cut(self, pattern: str, after: int, *, times: int | None = None) -> None:
        """Close the connection after so many bytes of the body of a GET."""
        self._edit("GET", pattern, times, _SUCCESS, cut=after)

    def corrupt(self, pattern: str, *, times: int | None = None) -> None:
        """Change the last byte of the body of a GET."""

        def flip(_path: str, reply: Reply) -> Reply:
            body = reply.body[:-1] + bytes([reply.body[-1] ^ 1])
            return dataclasses.replace(reply, body=body)

        self.spoil("GET", pattern, flip, times=times, statuses=_SUCCESS)

    def hang(self, method: str, pattern: str, *, times: int | None = None) -> None:
        """Accept the request and say nothing."""
        self._edit(method, pattern, times, range(600), is_silent=True)

    def reset(self, method: str, pattern: str, *, times: int | None = None) -> None:
        """Break the connection in place of an answer."""
        self._edit(method, pattern, times, range(600), is_reset=True)

    def drip(
        self, pattern: str, *, block: int, pause: float, times: int | None = None
    ) -> None:
        """Send the body of a GET in small pieces, with a pause before each."""
        self._edit("GET", pattern, times, _SUCCESS, block=block, pause=pause)

    def drip_head(
        self, method: str, pattern: str, *, pause: float, times: int | None = None
    ) -> None:
        """Send status and headers one byte at a time, with a pause before each."""
        self._edit(method, pattern, times, range(600), head_pause=pause)

    def drip_chunk_lines(
        self, pattern: str, *, pause: float, times: int | None = None
    ) -> None:
        """Send the body of a GET in chunks whose sizes come one byte at a time."""
        self._edit("GET", pattern, times, _SUCCESS, is_chunked=True, line_pause=pause)

    def chunk(self, pattern: str, *, times: int | None = None) -> None:
        """Send the body of a GET without saying how long it is."""
        self._edit("GET", pattern, times, _SUCCESS, is_chunked=True)

    def redirect(
        self,
        pattern: str,
        to: str,
        *,
        method: str = "GET",
        status: int = 307,
        times: int | None = None,
    ) -> None:
        """Redirect to a URL; one without a path gets the request's own."""

        def away(path: str, _reply: Reply) -> Reply:
            return Reply(
                status, {"Location": to if urlsplit(to).path else f"{to}{path}"}
            )

        self.spoil(method, pattern, away, times=times)

    def change_headers(
        self,
        method: str,
        pattern: str,
        headers: Mapping[str, str | None],
        *,
        times: int | None = None,
    ) -> None:
        """Send other headers in the answer; None: leave it out."""

        def change(_path: str, reply: Reply) -> Reply:
            merged = {**reply.headers, **headers}
            kept = {k: v for k, v in merged.items() if v is not None}
            return dataclasses.replace(reply, headers=kept)

        self.spoil(method, pattern, change, times=times)

    def ignore_ranges(self, pattern: str = "/blobs/") -> None:
        """Answer a request for a part with the whole."""

        def whole(path: str, _reply: Reply) -> Reply:
            return self.right_reply("GET", path, {})

        self.spoil("GET", pattern, whole, statuses={206})

    def _edit(
        self,
        method: str,
        pattern: str,
        times: int | None,
        statuses: Collection[int],
        **changes: object,
    ) -> None:
        def edit(_path: str, reply: Reply) -> Reply:
            return dataclasses.replace(reply, **changes)  # type: ignore[arg-type] # fields of Reply, by name

        self.spoil(method, pattern, edit, times=times, statuses=statuses)

    def seen(self, method: str = "", pattern: str = "") -> list[Seen]:
        """Return the requests so far, in their order."""
        return [
            request
            for request in list(self._seen)
            if method in {"", request.method} and re.search(pattern, request.path)
        ]

    def reply(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        """Return what to send, right or spoiled, and note that it was asked."""
        if method in _READING:
            reply = self.right_reply(method, path, headers)
        elif self._is_refused(method, path):
            reply = Reply()
        else:
            reply = self.written_reply(method, path, headers, body)
        with self._lock:
            for fault in self._faults:
                if fault.applies(method, path, reply.status):
                    reply = fault.spoil(path, reply)
            self._seen.append(Seen(method, path, headers, reply.status))
        return reply

    def _is_refused(self, method: str, path: str) -> bool:
        with self._lock:
            return any(
                fault.is_refusal and fault.may_apply(method, path)
                for fault in self._faults
            )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        headers = {name.title(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("Content-Length", "0")))
        reply = self.server.owner.reply(self.command, self.path, headers, body)
        if reply.is_silent:
            self.server.owner.is_closed.wait()
        if reply.is_silent or reply.is_reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif "Content-Length" not in reply.headers:
            self.send_header("Content-Length", str(len(reply.body)))
        usual = self.wfile
        if reply.head_pause:
            self.wfile = self._dripping(reply.head_pause)
        self.end_headers()
        self.wfile = usual
        if self.command != "HEAD":
            self._send_body(reply)

    def _dripping(self, pause: float) -> DrippingFile:
        return DrippingFile(self.wfile, pause, self.server.owner.is_closed)

    def _send_body(self, reply: Reply) -> None:
        for piece in _pieces(memoryview(reply.body)[: reply.cut], reply.block):
            if reply.pause and self.server.owner.is_closed.wait(reply.pause):
                break
            if reply.line_pause:
                self._dripping(reply.line_pause).write(_ZEROS)
            if reply.is_chunked:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            else:
                self.wfile.write(piece)
        if reply.cut is not None:
            self.close_connection = True
        elif reply.is_chunked:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_arguments: object) -> None:
        """Say nothing: what was asked is in ``MisbehavingServer.seen``."""


def _pieces(body: memoryview, block: int | None) -> Iterator[memoryview]:
    step = block or max(len(body), 1)
    for start in itertools.takewhile(len(body).__gt__, itertools.count(0, step)):
        yield body[start : start + step]


class _Server(LoopbackServer):
    def __init__(self, owner: MisbehavingServer, tls: ServerCertificate | None) -> None:
        super().__init__(_Handler, tls)
        self.owner = owner
