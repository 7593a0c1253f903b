"""Those who wish a receiver ill, or do as if: a process of its own.

    python -m tests.bench.siege < order.json > told.json

It says ``ready`` on its output as soon as everybody is there, goes on until its input
ends, but never longer than ordered, and then says what was seen.

Half of the dripping senders never end a head, half never end the body of a steering
verb, for which a receiver has to wait (a hook's is read from senders it knows only).
Each sends one byte a second; who is cut off is back in the next second. A slow reader
asks for a large object and takes a kilobyte a second of it.
"""

import asyncio
import contextlib
import gc
import json
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

_PACE_SECONDS = 1.0
_GOLDEN = 0.618  # its multiples lie evenly in every second
_SIP_BYTES = 1024
_KERNEL_BYTES = 4096  # of an answer that is not read yet
_OPEN_FILES = 8192
_HALF_A_HEAD = "GET / HTTP/1.1\r\nHost: {host}\r\nX-Drip: "
_HALF_A_BODY = (
    "POST /api/v1/images HTTP/1.1\r\nHost: {host}\r\n"
    "Content-Type: application/json\r\nContent-Length: 4000\r\n\r\n{{"
)
_LARGE = "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be done.

    Attributes:
        host: of the receiver.
        port: likewise.
        drippers: addresses of the dripping senders, one for each.
        readers: addresses of the slow readers, one for each.
        path: of what those ask for.
        seconds: after so long it is over.
    """

    host: str
    port: int
    drippers: list[str]
    readers: list[str]
    path: str
    seconds: float


class _Siege:
    def __init__(self, order: _Order) -> None:
        self._order = order
        self._there: set[str] = set()
        self.is_ready = asyncio.Event()
        self.seen: Counter[str] = Counter()

    async def run(self) -> None:
        """Go on until cancelled."""
        tasks = [
            self._again(f"dripper {number}", source, half, self._drip)
            for number, source in enumerate(self._order.drippers)
            for half in (_HALF_A_BODY if number % 2 else _HALF_A_HEAD,)
        ]
        tasks += [
            self._again(f"reader {number}", source, _LARGE, self._sip)
            for number, source in enumerate(self._order.readers)
        ]
        await asyncio.gather(*tasks)

    async def _again(self, name: str, source: str, text: str, be_slow: object) -> None:
        assert callable(be_slow)
        request = text.format(host=self._order.host, path=self._order.path).encode()
        kind, _, number = name.partition(" ")
        # They know nothing of each other, so they do not all speak at once.
        await asyncio.sleep(int(number) * _GOLDEN % _PACE_SECONDS)
        while True:
            with contextlib.suppress(OSError), socket.socket() as sock:
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BYTES)
                sock.bind((source, 0))
                loop = asyncio.get_running_loop()
                await loop.sock_connect(sock, (self._order.host, self._order.port))
                await loop.sock_sendall(sock, request)
                self._note(name)
                self.seen[f"{kind} connected"] += 1
                answer = await be_slow(sock)
                self.seen[f"{kind} told {answer.decode('ascii', 'replace')}"] += 1
            await asyncio.sleep(_PACE_SECONDS)

    def _note(self, name: str) -> None:
        self._there.add(name)
        if len(self._there) == len(self._order.drippers) + len(self._order.readers):
            self.is_ready.set()

    async def _drip(self, sock: socket.socket) -> bytes:
        """Send a byte now and then; return the status that ends it, or nothing."""
        while True:
            await asyncio.sleep(_PACE_SECONDS)
            with contextlib.suppress(BlockingIOError):
                return sock.recv(_SIP_BYTES)[9:12]
            sock.send(b"x")

    async def _sip(self, sock: socket.socket) -> bytes:
        """Read a little now and then; return the status where it is no success."""
        head = await asyncio.get_running_loop().sock_recv(sock, 12)
        if head[9:] != b"200":
            return head[9:]
        while True:
            await asyncio.sleep(_PACE_SECONDS)
            with contextlib.suppress(BlockingIOError):
                if not sock.recv(_SIP_BYTES):
                    return b""


async def _until_told(siege: _Siege, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    end = loop.run_in_executor(None, sys.stdin.read)
    work = asyncio.create_task(siege.run())
    try:
        await asyncio.wait_for(siege.is_ready.wait(), seconds)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(end), seconds)
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


def _allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


async def _work(order: Mapping[str, object]) -> Mapping[str, int]:
    # What JSON gives is what the fields are.
    told = _Order(**order)  # type: ignore[arg-type]
    siege = _Siege(told)
    await _until_told(siege, told.seconds)
    return dict(siege.seen)


def main() -> None:
    _allow_files(_OPEN_FILES)
    gc.disable()
    started = time.process_time()
    seen = asyncio.run(_work(json.loads(sys.stdin.readline())))
    seconds = time.process_time() - started
    json.dump({"seen": seen, "cpu_seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main()
