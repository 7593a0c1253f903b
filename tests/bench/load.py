"""The load generator, a process of its own: requests at a pace, or in a burst.

    python -m tests.bench.load < order.json > answers.json

Open loop: each request has its time, and is sent then, whether or not earlier ones have
been answered; the clock of each starts at that time, so that waiting in us counts, too.
Written on bare sockets, because the generator shares the machine with what it measures.

Connections are kept as senders and clients keep theirs; each source address has its
own, and the addresses take turns.
"""

import asyncio
import contextlib
import gc
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

_PAUSE_SECONDS = 0.2
_MOST_ATTEMPTS = 100


@dataclass(slots=True)
class Answers:
    """What came back.

    Attributes:
        seconds: of each request until it was accepted, in their order.
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

    @property
    def is_open(self) -> bool:
        """Whether the other side has not closed it, as far as is known."""
        return not (self.writer.is_closing() or self.reader.at_eof())

    async def ask(self, request: bytes) -> int:
        """Send a whole request; return the status of its answer, read to its end."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        await self.reader.readexactly(length)
        if b"connection: close" in head.lower():
            self.writer.close()
        return int(head[9:12])


class _Pool:
    """Connections from one address that are kept, as a registry keeps its own."""

    def __init__(self, host: str, port: int, source: str, answers: Answers) -> None:
        self._host, self._port, self._source = host, port, source
        self._answers = answers
        self._idle: list[_Connection] = []

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[_Connection]:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                break
            connection.writer.close()
        else:
            connection = await self._open()
        try:
            yield connection
        except BaseException:
            connection.writer.close()
            raise
        if connection.is_open:
            self._idle.append(connection)

    async def _open(self) -> _Connection:
        self._answers.connections += 1
        return _Connection(
            *await asyncio.open_connection(
                self._host, self._port, local_addr=(self._source, 0)
            )
        )


async def _accepted(pool: _Pool, request: bytes, answers: Answers) -> None:
    """Send until it is accepted, as senders do."""
    for _ in range(_MOST_ATTEMPTS):
        status = 0
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with pool.connection() as connection:
                status = await connection.ask(request)
        answers.statuses[status] = answers.statuses.get(status, 0) + 1
        if 200 <= status < 300:
            return
        await asyncio.sleep(_PAUSE_SECONDS)


async def paced(
    pools: Sequence[_Pool], requests: Sequence[bytes], answers: Answers, rate: float
) -> None:
    """Send so many a second."""
    begun = time.perf_counter() + 0.5

    async def send(number: int) -> None:
        due = begun + number / rate
        await asyncio.sleep(due - time.perf_counter())
        await _accepted(pools[number % len(pools)], requests[number], answers)
        answers.seconds[number] = time.perf_counter() - due

    await asyncio.gather(*map(send, range(len(requests))))


async def burst(
    pools: Sequence[_Pool], requests: Sequence[bytes], answers: Answers, at_once: int
) -> None:
    """Send them as fast as they are taken, so many at once."""
    numbers = iter(range(len(requests)))

    async def send() -> None:
        for number in numbers:
            started = time.perf_counter()
            await _accepted(pools[number % len(pools)], requests[number], answers)
            answers.seconds[number] = time.perf_counter() - started

    await asyncio.gather(*(send() for _ in range(at_once)))


async def _work(order: Mapping[str, object]) -> Answers:
    host, port = str(order["host"]), int(str(order["port"]))
    texts, sources = order["requests"], order["sources"]
    assert isinstance(texts, list)
    assert isinstance(sources, list)
    requests = [text.encode() for text in texts]
    answers = Answers([0.0] * len(requests))
    pools = [_Pool(host, port, source, answers) for source in sources]
    # Looking through all of these for cycles takes up to 100 ms, which would count.
    gc.disable()
    started = time.perf_counter()
    if order["rate"] is not None:
        await paced(pools, requests, answers, float(str(order["rate"])))
    else:
        await burst(pools, requests, answers, int(str(order["at_once"])))
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
