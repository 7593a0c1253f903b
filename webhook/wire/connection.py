"""One peer, and the threads that may be given work for it."""

import socket
import time
from collections.abc import Callable
from enum import Enum
from queue import SimpleQueue
from threading import Thread

from webhook.wire.request import RequestBuffer
from webhook.wire.response import Address, ResponseBuffer


class ConnectionState(Enum):
    """Whose a connection is; see ``server.py``."""

    READING = 1
    WORKING = 2
    WRITING = 3
    GONE = 4


class Connection:
    """One peer.

    Attributes:
        peer: its address.
        client: the address for which its present request counts; the peer's own while
            it has not said whose it is.
        here: the address of ours to which it came.
        request: what it has sent.
        response: what it has not yet taken.
        since: when the present request, or the waiting for it, began.
        deadline: for whatever is being waited for.
        is_whole: whether all of the present request is there.
        stays: whether there may be another request after the present answer.
        promised: bytes of a large body that are kept free for it.
        drained: bytes that came after the last answer and were thrown away.
    """

    __slots__ = (
        "client",
        "deadline",
        "drained",
        "here",
        "is_whole",
        "peer",
        "promised",
        "request",
        "response",
        "since",
        "sock",
        "state",
        "stays",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, peer: Address) -> None:
        self.sock = sock
        self.peer = peer
        self.client: str = peer[0]
        self.here: Address = sock.getsockname()
        self.request = RequestBuffer()
        self.response = ResponseBuffer()
        self.state = ConnectionState.READING
        self.since = self.deadline = time.monotonic()
        self.is_whole = True
        self.stays = True
        self.promised = self.drained = 0

    def is_slow(self, now: float, seconds: float) -> bool:
        """Whether a request has begun and does not come to its end."""
        is_coming = self.state is ConnectionState.READING and bool(self.request)
        return is_coming and now - self.since > seconds


class WorkerPool:
    """Threads that work on requests, in the order in which they came."""

    def __init__(
        self, name: str, threads: int, work: Callable[[Connection], None]
    ) -> None:
        self._waiting: SimpleQueue[Connection | None] = SimpleQueue()
        self._work = work
        self._threads = [
            Thread(target=self._run, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, connection: Connection) -> None:
        """Have a connection worked on."""
        self._waiting.put(connection)

    def close(self) -> None:
        """Have the threads end as soon as they have nothing to do."""
        for _ in self._threads:
            self._waiting.put(None)

    def _run(self) -> None:
        while (connection := self._waiting.get()) is not None:
            self._work(connection)
