"""An answer while it goes out: in memory or in files, until the peer has taken it.

Whoever makes an answer never waits for the peer: it says all it has to say here, as if
this were the socket, and ``ResponseSender`` hands it out as fast as the peer takes it.
"""

import contextlib
import logging
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from threading import Lock, Thread
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

log = logging.getLogger(__name__)

Address = tuple[Any, ...]

# Of a file at once, so that one peer that is fast does not keep the others waiting.
_PIECE_BYTES = 256 * 1024
_PIECES = 4
_MOST_BUFFERS = 64
_DRAIN_BYTES = 65_536
# Enough for who was about to stop; who goes on sending is cut off.
_MOST_DRAINED = 1024 * 1024


class FileShrank(OSError):
    """A file has become shorter than it was said to be."""


class _FilePart:
    """A part of an open file; its own descriptor, for the opener closes theirs."""

    __slots__ = ("count", "descriptor", "offset")

    def __init__(self, descriptor: int, offset: int, count: int) -> None:
        self.descriptor = os.dup(descriptor)
        self.offset = offset
        self.count = count

    def send(self, sock: socket.socket) -> bool:
        """Send some of it; True when that was the last."""
        sent = os.sendfile(
            sock.fileno(), self.descriptor, self.offset, min(self.count, _PIECE_BYTES)
        )
        if sent == 0:
            raise FileShrank("a file was cut while it was sent")
        self.offset += sent
        self.count -= sent
        return self.count == 0

    def close(self) -> None:
        os.close(self.descriptor)


class ResponseBuffer:
    """What is still to be sent over one connection, in order.

    It has those methods of a socket that gunicorn's ``Response`` calls.
    """

    def __init__(self) -> None:
        self._parts: deque[bytes | memoryview | _FilePart] = deque()

    def __len__(self) -> int:
        """Return how many bytes there are."""
        return sum(
            part.count if isinstance(part, _FilePart) else len(part)
            for part in self._parts
        )

    def sendall(self, data: bytes) -> None:
        """Have bytes sent."""
        if data:
            self._parts.append(data)

    def send(self, data: bytes) -> int:
        """Have bytes sent, all of them."""
        self.sendall(data)
        return len(data)

    def sendfile(self, file: BinaryIO, offset: int = 0, count: int = 0) -> int:
        """Have ``count`` bytes of an open file sent."""
        if count:
            self._parts.append(_FilePart(file.fileno(), offset, count))
        return count

    def push(self, sock: socket.socket) -> bool:
        """Send as much as goes without waiting; True when nothing is left.

        Raises:
            OSError: the peer is gone.
        """
        pieces = 0
        with contextlib.suppress(BlockingIOError):
            while self._parts and pieces < _PIECES:
                first = self._parts[0]
                if not isinstance(first, _FilePart):
                    self._send_bytes(sock)
                    continue
                pieces += 1
                if first.send(sock):
                    self._parts.popleft()
                    first.close()
        return not self._parts

    def _send_bytes(self, sock: socket.socket) -> None:
        """Send headers and body in one go, so that they travel together."""
        buffers: list[bytes | memoryview] = []
        for part in self._parts:
            if isinstance(part, _FilePart) or len(buffers) == _MOST_BUFFERS:
                break
            buffers.append(part)
        sent = sock.sendmsg(buffers)
        while sent:
            part = buffers.pop(0)
            self._parts.popleft()
            if sent < len(part):
                self._parts.appendleft(memoryview(part)[sent:])
                return
            sent -= len(part)

    def close(self) -> None:
        """Throw away what is left."""
        while self._parts:
            part = self._parts.popleft()
            if isinstance(part, _FilePart):
                part.close()


class Responding(Protocol):
    """A connection as far as its answer is concerned."""

    sock: socket.socket
    peer: Address
    response: ResponseBuffer
    deadline: float
    drained: int


T = TypeVar("T", bound=Responding)


class ResponseSender(Generic[T]):
    """Hands out answers to peers that are slow to take them: one thread for all.

    Args:
        is_done: told of each connection whose answer is out; it may be used again.
        drop: told of each that is at its end.
        linger_seconds: how long a peer that is told to close may take to do so. The
            kernel throws away what the peer has not yet read, if we close before we
            have read all that it sent (RFC 9112, section 9.6).
        tick_seconds: how often deadlines are looked at.
    """

    def __init__(
        self,
        is_done: Callable[[T], None],
        drop: Callable[[T], None],
        *,
        linger_seconds: float,
        tick_seconds: float,
    ) -> None:
        self._is_done = is_done
        self._drop = drop
        self._linger_seconds = linger_seconds
        self._tick_seconds = tick_seconds
        self._poll = select.epoll()
        self._there: dict[int, tuple[T, int]] = {}
        self._lock = Lock()
        self._is_open = True
        self._thread = Thread(target=self._work, name="sender", daemon=True)
        self._thread.start()

    def take(self, connection: T) -> None:
        """Send what is left to be sent, until the connection's deadline."""
        self._add(connection, select.EPOLLOUT)

    def part(self, connection: T) -> None:
        """End a connection over which all was said, though the peer may still talk."""
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(connection)
            return
        connection.deadline = time.monotonic() + self._linger_seconds
        self._add(connection, select.EPOLLIN)

    def close(self) -> None:
        """End the thread, within ``tick_seconds`` or so.

        Answers not sent by then stay unsent and their sockets open: neither ``is_done``
        nor ``drop`` is called for them, so the caller closes those connections.
        """
        self._is_open = False
        self._thread.join()
        self._poll.close()

    def _add(self, connection: T, event: int) -> None:
        number = connection.sock.fileno()
        with self._lock:
            self._there[number] = (connection, event)
        try:
            self._poll.register(number, event)
        except (OSError, ValueError):
            self._forget(number)
            self._drop(connection)

    def _forget(self, number: int) -> None:
        with self._lock:
            self._there.pop(number, None)
        with contextlib.suppress(OSError, ValueError):
            self._poll.unregister(number)

    def _work(self) -> None:
        tick = time.monotonic()
        while self._is_open:
            for number, _ in self._poll.poll(self._tick_seconds):
                there = self._there.get(number)
                if there is None:
                    continue
                try:
                    self._turn(number, *there)
                except Exception:
                    log.exception("sender=%s dropped", there[0].peer[0])
                    self._forget(number)
                    self._drop(there[0])
            if time.monotonic() >= tick:
                tick = time.monotonic() + self._tick_seconds
                self._look_at_deadlines()

    def _turn(self, number: int, connection: T, event: int) -> None:
        is_sending = event == select.EPOLLOUT
        try:
            if is_sending:
                is_over = connection.response.push(connection.sock)
            else:
                data = connection.sock.recv(_DRAIN_BYTES)
                connection.drained += len(data)
                is_over = not data or connection.drained > _MOST_DRAINED
        except BlockingIOError:
            return
        except OSError:
            self._forget(number)
            self._drop(connection)
            return
        if is_over:
            self._forget(number)
            if is_sending:
                self._is_done(connection)
            else:
                self._drop(connection)

    def _look_at_deadlines(self) -> None:
        now = time.monotonic()
        with self._lock:
            late = [
                (number, connection, event)
                for number, (connection, event) in self._there.items()
                if connection.deadline <= now
            ]
        for number, connection, event in late:
            self._forget(number)
            if event == select.EPOLLOUT:
                log.debug("sender=%s does not take its answer", connection.peer[0])
            self._drop(connection)
