"""The load generator, a process of its own: notifications at a pace, or in a burst.

    python -m tests.bench.load < order.json > answers.json

Open loop: each notification has its time, and is sent then, whether or not earlier ones
have been answered; the clock of each starts at that time, so that waiting in us counts,
too. Written on bare sockets, because the generator shares the machine with what it
measures.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

_LONGEST_ANSWER = 1 << 16
_PAUSE_SECONDS = 0.2
_MOST_ATTEMPTS = 100


@dataclass(slots=True)
class Answers:
    """What came back.

    Attributes:
        seconds: of each notification until it was accepted, in their order.
        statuses: how often each status came; 0 where a connection broke.
        connections: that were opened.
    """

    seconds: list[float]
    statuses: dict[int, int] = field(default_factory=dict)
    connections: int = 0


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def post(self, request: bytes) -> int:
        """Send a whole request; return the status of its answer, read to its end."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        await self.reader.readexactly(min(length, _LONGEST_ANSWER))
        if b"connection: close" in head.lower():
            self.writer.close()
        return int(head[9:12])


class _Pool:
    """Connections that are kept, as a registry keeps its own."""

    def __init__(self, host: str, port: int, answers: Answers) -> None:
        self._host, self._port = host, port
        self._answers = answers
        self._idle: list[_Connection] = []

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[_Connection]:
        connection = self._idle.pop() if self._idle else await self._open()
        yield connection
        if not connection.writer.is_closing():
            self._idle.append(connection)

    async def _open(self) -> _Connection:
        self._answers.connections += 1
        return _Connection(*await asyncio.open_connection(self._host, self._port))


async def _accepted(pool: _Pool, request: bytes, answers: Answers) -> None:
    """Send until it is accepted, as senders do."""
    for _ in range(_MOST_ATTEMPTS):
        status = 0
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with pool.connection() as connection:
                status = await connection.post(request)
        answers.statuses[status] = answers.statuses.get(status, 0) + 1
        if 200 <= status < 300:
            return
        await asyncio.sleep(_PAUSE_SECONDS)


async def paced(
    pool: _Pool, requests: Sequence[bytes], answers: Answers, rate: float
) -> None:
    """Send so many a second."""
    begun = time.perf_counter() + 0.5

    async def send(number: int) -> None:
        due = begun + number / rate
        await asyncio.sleep(due - time.perf_counter())
        await _accepted(pool, requests[number], answers)
        answers.seconds[number] = time.perf_counter() - due

    await asyncio.gather(*map(send, range(len(requests))))


async def burst(
    pool: _Pool, requests: Sequence[bytes], answers: Answers, at_once: int
) -> None:
    """Send them as fast as they are taken, so many at once."""
    numbers = iter(range(len(requests)))

    async def send() -> None:
        for number in numbers:
            started = time.perf_counter()
            await _accepted(pool, requests[number], answers)
            answers.seconds[number] = time.perf_counter() - started

    await asyncio.gather(*(send() for _ in range(at_once)))


def request_bytes(
    path: str, host: str, headers: Mapping[str, str], body: bytes
) -> bytes:
    """Return a POST as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _work(order: Mapping[str, object]) -> Answers:
    host, port = str(order["host"]), int(str(order["port"]))
    headers, bodies = order["headers"], order["bodies"]
    assert isinstance(headers, dict)
    assert isinstance(bodies, list)
    requests = [
        request_bytes(str(order["path"]), f"{host}:{port}", headers, body.encode())
        for body in bodies
    ]
    answers = Answers([0.0] * len(requests))
    pool = _Pool(host, port, answers)
    started = time.perf_counter()
    if order["rate"] is not None:
        await paced(pool, requests, answers, float(str(order["rate"])))
    else:
        await burst(pool, requests, answers, int(str(order["at_once"])))
    sys.stderr.write(f"{len(requests)} in {time.perf_counter() - started:.1f} s\n")
    return answers


def main() -> None:
    answers = asyncio.run(_work(json.load(sys.stdin)))
    json.dump(
        {
            "seconds": answers.seconds,
            "statuses": answers.statuses,
            "connections": answers.connections,
            "cpu_seconds": time.process_time(),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
