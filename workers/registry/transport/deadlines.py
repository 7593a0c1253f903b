"""Deadlines for all that a thread receives, however little comes at a time.

A socket's own timeout begins anew with each byte: a header, or the line before a chunk,
that comes as one byte a second is never too late for it. So who waits for a whole thing
says until when, and every wait on the way is for the rest of that time at most.

It is said for the thread, as the sockets lie below a library that hands nothing down.
"""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_of_thread = threading.local()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give what this thread receives in the block so long, all together.

    What was said around the block holds in it, too.
    """
    outer: float | None = getattr(_of_thread, "deadline", None)
    deadline = time.monotonic() + seconds
    _of_thread.deadline = deadline if outer is None else min(outer, deadline)
    try:
        yield
    finally:
        _of_thread.deadline = outer


def time_left(seconds: float) -> float:
    """Return how long to wait for the next byte: at most so long, and never 0.

    Raises:
        TimeoutError: the time is over.
    """
    deadline: float | None = getattr(_of_thread, "deadline", None)
    if deadline is None:
        return seconds
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("what was to come in a time came too slowly")
    return min(left, seconds)


class TimelySocket(socket.socket):
    """A connection that receives within what its thread has said."""

    def recv_into(
        self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0
    ) -> int:
        """Receive as ``socket.socket`` does; raises TimeoutError earlier."""
        with _hurried(self):
            return super().recv_into(buffer, nbytes, flags)


class TimelyTlsSocket(ssl.SSLSocket):
    """The same under TLS."""

    def recv_into(
        self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0
    ) -> int:
        """Receive as ``ssl.SSLSocket`` does; raises TimeoutError earlier."""
        with _hurried(self):
            return super().recv_into(buffer, nbytes, flags)


@contextmanager
def _hurried(sock: socket.socket) -> Iterator[None]:
    usual = sock.gettimeout()
    if usual is None:
        yield
        return
    left = time_left(usual)
    if left < usual:
        sock.settimeout(left)
    try:
        yield
    finally:
        if left < usual:
            sock.settimeout(usual)
