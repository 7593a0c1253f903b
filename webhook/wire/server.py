"""Who looks after all connections of a process.

A connection belongs to exactly one party at a time: to the server while a request comes
in (``READING``), to a thread of a pool while it is worked on (``WORKING``), to the
sender while the answer goes out (``WRITING``). Each hands it on and does not touch it
again. The kernel tells the server of a connection once and then no more until it is
asked to (EPOLLONESHOT), so that whoever is done with an answer can give the connection
back without waking the server.
"""

import contextlib
import errno
import logging
import os
import select
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from threading import Lock

from webhook.wire.connection import Connection, ConnectionState, WorkerPool
from webhook.wire.gunicorn_bridge import WsgiRunner, refusal
from webhook.wire.limits import PeerLimits, RequestPolicy
from webhook.wire.request import BadChunks, RequestHead, TooLarge
from webhook.wire.response import ResponseSender

log = logging.getLogger(__name__)

_READ_BYTES = 65_536
_ONCE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# A body of up to this size is worth no account.
_SMALL_BYTES = 65_536
# One may wait for something that hangs while another is answered.
_PROBE_THREADS = 2
_OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class HttpServer:
    """Accepts connections and answers what comes over them, until it is stopped.

    Args:
        listeners: bound and listening.
        runner: answers requests.
        policy: decides what is worth waiting for.
        limits: what a peer may take.
        urgent_threads: for the requests that are urgent.
        other_threads: for the others.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        runner: WsgiRunner,
        policy: RequestPolicy,
        limits: PeerLimits,
        *,
        urgent_threads: int,
        other_threads: int,
    ) -> None:
        self._listeners = {each.fileno(): each for each in listeners}
        self._runner = runner
        self._policy = policy
        self._limits = limits
        self._poll = select.epoll()
        self._there: dict[int, Connection] = {}
        self._promised = 0
        self._lock = Lock()
        self._is_stopping = False
        self._sender: ResponseSender[Connection] = ResponseSender(
            self._answered,
            self._drop,
            linger_seconds=limits.linger_seconds,
            tick_seconds=limits.tick_seconds,
        )
        self._urgent = WorkerPool("urgent", urgent_threads, self._work)
        self._others = WorkerPool("other", other_threads, self._work)
        self._probes = WorkerPool("probe", _PROBE_THREADS, self._work)

    def run(
        self,
        is_wanted: Callable[[], bool],
        *,
        wake: int,
        grace_seconds: float,
    ) -> None:
        """Work until ``is_wanted`` says no; then answer what is there already.

        Args:
            is_wanted: asked again and again; at the latest after a tick.
            wake: a file descriptor; when something can be read there, ask at once.
            grace_seconds: how long requests that are being worked on may take then.
        """
        self._poll.register(wake, select.EPOLLIN)
        for listener in self._listeners.values():
            listener.setblocking(False)
            self._poll.register(listener, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        tick = 0.0
        while is_wanted():
            self._turn(wake)
            if time.monotonic() >= tick:
                tick = time.monotonic() + self._limits.tick_seconds
                self._look_at_deadlines()
        self._is_stopping = True
        for listener in self._listeners.values():
            self._poll.unregister(listener)
        deadline = time.monotonic() + grace_seconds
        while self._are_busy() and time.monotonic() < deadline:
            self._turn(wake)
            self._look_at_deadlines()
        self._urgent.close()
        self._others.close()
        self._probes.close()
        self._sender.close()
        for connection in list(self._there.values()):
            self._drop(connection)
        self._poll.close()

    def _turn(self, wake: int) -> None:
        for number, _ in self._poll.poll(self._limits.tick_seconds):
            if number == wake:
                with contextlib.suppress(OSError):
                    os.read(wake, 4096)
            elif number in self._listeners:
                self._accept(self._listeners[number])
            else:
                connection = self._there.get(number)
                if (
                    connection is not None
                    and connection.state is ConnectionState.READING
                ):
                    self._read_or_drop(connection)

    def _are_busy(self) -> bool:
        """Whether anybody is in the middle of something; who only stays is sent off."""
        for connection in list(self._there.values()):
            if connection.state is ConnectionState.READING and not connection.request:
                self._drop(connection)
        return bool(self._there)

    # Coming.

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, peer = listener.accept()
        except BlockingIOError:
            return
        except OSError as exc:
            if exc.errno in _OUT_OF_FILES:
                log.warning("out of files or memory; the slowest peer is given up")
                self._give_up_somebody()
            return
        sock.setblocking(False)
        connection = Connection(sock, peer)
        if (
            len(self._there) >= self._limits.connections
            and not self._give_up_somebody()
        ):
            with contextlib.suppress(OSError):
                sock.send(refusal(503, "too many connections; try again later"))
            sock.close()
            return
        connection.deadline = connection.since + self._limits.head_seconds
        self._there[sock.fileno()] = connection
        try:
            self._poll.register(sock, _ONCE)
        except OSError as exc:
            log.warning("a connection cannot be looked after: %s", exc)
            self._drop(connection)

    def _read_or_drop(self, connection: Connection) -> None:
        """Have one connection end for a fault of ours, and no other."""
        try:
            self._read(connection)
        except Exception:
            log.exception("sender=%s dropped", connection.peer[0])
            self._drop(connection)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(_READ_BYTES)
        except BlockingIOError:
            self._listen(connection)
            return
        except OSError:
            data = b""
        if not data:
            if connection.request:
                log.debug("sender=%s broke off", connection.client)
            self._drop(connection)
            return
        if not connection.request:
            connection.since = time.monotonic()
            connection.deadline = connection.since + self._limits.head_seconds
        self._go_on(connection, data)

    def _go_on(self, connection: Connection, data: bytes) -> None:
        """Take what came, and have it worked on if it is enough."""
        request = connection.request
        is_new = request.head is None
        try:
            request.feed(data)
        except TooLarge as exc:
            self._refuse(connection, exc.status, "the request is too large")
            return
        head = request.head
        if head is None:
            self._listen(connection)
            return
        if is_new:
            connection.client = self._policy.client(connection.peer[0], head)
        largest = self._policy.body_bytes(head)
        try:
            is_whole = request.is_whole(largest)
        except TooLarge:
            # What is to be said of it the application knows.
            self._hand_on(connection, head, is_whole=False)
            return
        except BadChunks:
            self._refuse(connection, 400, "the request is not readable")
            return
        is_welcome = largest if head.length is None else 0 < head.length <= largest
        if is_whole or not is_welcome:
            self._hand_on(connection, head, is_whole=is_whole)
            return
        # Of chunks nobody knows how many are to come.
        size = len(request) if head.length is None else head.length
        if size > _SMALL_BYTES and not self._promise(connection, size):
            self._refuse(connection, 503, "too much at once; try again later")
        elif is_new:
            self._wait_for_body(connection, head)
        else:
            self._listen(connection)

    def _wait_for_body(self, connection: Connection, head: RequestHead) -> None:
        connection.deadline = time.monotonic() + self._limits.body_seconds
        if head.is_asking:
            with contextlib.suppress(OSError):
                connection.sock.send(_CONTINUE)
        self._listen(connection)

    def _hand_on(
        self, connection: Connection, head: RequestHead, *, is_whole: bool
    ) -> None:
        connection.is_whole = is_whole and head.is_plain
        connection.state = ConnectionState.WORKING
        if self._policy.is_probe(head):
            self._probes.put(connection)
        elif self._policy.is_urgent(head):
            self._urgent.put(connection)
        else:
            self._others.put(connection)

    def _listen(self, connection: Connection) -> None:
        """Wait for more; whoever calls this lets go of the connection."""
        try:
            connection.state = ConnectionState.READING
            self._poll.modify(connection.sock, _ONCE)
        except (OSError, ValueError):
            # Given up meanwhile.
            self._drop(connection)

    def _promise(self, connection: Connection, size: int) -> bool:
        """Keep so many bytes free for a body, with those that were; False: cannot."""
        with self._lock:
            more = size - connection.promised
            if self._promised + more > self._limits.bodies_bytes:
                return False
            self._promised += more
            connection.promised = size
            return True

    def _redeem(self, connection: Connection) -> None:
        if connection.promised:
            with self._lock:
                self._promised -= connection.promised
                connection.promised = 0

    # Working, in a thread of a pool.

    def _work(self, connection: Connection) -> None:
        try:
            connection.stays = self._runner.answer(
                connection.request.take(),
                connection.response,
                peer=connection.peer,
                here=connection.here,
                is_whole=connection.is_whole,
                may_stay=not self._is_stopping,
            )
            self._redeem(connection)
            self._send(connection)
        except Exception:
            log.exception("sender=%s not answered", connection.peer[0])
            self._drop(connection)

    def _send(self, connection: Connection) -> None:
        """Send the answer now, or have it sent."""
        try:
            is_out = connection.response.push(connection.sock)
        except OSError:
            self._drop(connection)
            return
        if is_out:
            self._answered(connection)
            return
        connection.since = time.monotonic()
        connection.deadline = (
            connection.since
            + self._limits.answer_seconds
            + len(connection.response) / self._limits.slowest_rate
        )
        connection.state = ConnectionState.WRITING
        self._sender.take(connection)

    # Going; in whichever thread has sent the last byte of an answer.

    def _answered(self, connection: Connection) -> None:
        if not connection.stays:
            self._part(connection)
            return
        connection.since = time.monotonic()
        connection.client = connection.peer[0]
        if connection.request:
            # The next request has come together with this one.
            connection.deadline = connection.since + self._limits.head_seconds
            self._go_on(connection, b"")
        else:
            connection.deadline = connection.since + self._limits.idle_seconds
            self._listen(connection)

    def _part(self, connection: Connection) -> None:
        if connection.is_whole:
            # All that came was read, so nothing of the answer gets lost.
            self._drop(connection)
            return
        connection.since = time.monotonic()
        connection.state = ConnectionState.WRITING
        self._sender.part(connection)

    def _refuse(self, connection: Connection, status: int, reason: str) -> None:
        """Answer without having asked anybody, and end."""
        log.warning("sender=%s status=%d %s", connection.client, status, reason)
        connection.stays = connection.is_whole = False
        connection.response.sendall(refusal(status, reason))
        self._send(connection)

    def _drop(self, connection: Connection) -> None:
        with self._lock:
            if connection.state is ConnectionState.GONE:
                return
            connection.state = ConnectionState.GONE
            self._there.pop(connection.sock.fileno(), None)
        self._redeem(connection)
        connection.sock.close()
        connection.response.close()

    # Giving up those who take too long.

    def _look_at_deadlines(self) -> None:
        now = time.monotonic()
        slow: defaultdict[str, list[Connection]] = defaultdict(list)
        for connection in list(self._there.values()):
            if connection.state is not ConnectionState.READING:
                continue
            if now >= connection.deadline:
                if connection.request:
                    self._refuse(connection, 408, "the request took too long")
                else:
                    self._drop(connection)
            elif connection.is_slow(now, self._limits.slow_seconds):
                slow[connection.client].append(connection)
        for those in slow.values():
            those.sort(key=lambda each: each.since)
            for connection in those[: -self._limits.slow_per_address]:
                self._refuse(connection, 429, "too many slow requests at once")

    def _give_up_somebody(self) -> bool:
        """Make room for one; False when everybody is being worked for."""
        idle = [
            each
            for each in list(self._there.values())
            if each.state in {ConnectionState.READING, ConnectionState.WRITING}
        ]
        if not idle:
            return False
        # Who keeps a connection for later is in nobody's way while there are others.
        now = time.monotonic()
        seconds = self._limits.slow_seconds
        idle = [each for each in idle if each.is_slow(now, seconds)] or idle
        held = Counter(each.client for each in idle)
        victim = min(idle, key=lambda each: (-held[each.client], each.since))
        if victim.state is ConnectionState.WRITING:
            # It is the sender's, which will see it and drop it.
            with contextlib.suppress(OSError):
                victim.sock.shutdown(socket.SHUT_RDWR)
        else:
            if victim.request:
                # Who has not begun to ask would take it for the answer to what follows.
                with contextlib.suppress(OSError):
                    victim.sock.send(refusal(408, "others are waiting"))
            self._drop(victim)
        return True
