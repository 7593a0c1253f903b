"""Storing the bytes of files while the layer is still being read.

One thread reads the stream; a few others compress, hash and write. Small files are
handed over in batches, because a hand-over costs as much as compressing a kilobyte;
large ones in pieces that are stored as chunks of their own. The bytes waiting are
bounded, so that a fast registry cannot fill the memory.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from workers.cvmfs import Chunk, Content
from workers.plan import ContentSink

P = ParamSpec("P")
Result = TypeVar("Result")

_BATCH_BYTES = 1 << 19
_BATCH_FILES = 64


class ContentPool:
    """Threads that store content, shared by the layers of an image.

    Args:
        threads: how many; one for each core is right.
        waiting: how many batches or pieces may wait; with the sink's piece size it
            bounds the memory.
    """

    def __init__(self, sink: ContentSink, threads: int, waiting: int = 8) -> None:
        self.sink = sink
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="content")
        self._slots = BoundedSemaphore(threads + waiting)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.shutdown(cancel_futures=kind is not None)

    def store_batch(self, batch: list[bytes]) -> "Future[list[Content]]":
        """Store several small files; waits while too much is waiting already."""
        return self._submit(_store_all, self.sink, batch)

    def store_piece(self, data: bytes, offset: int) -> "Future[Chunk]":
        """Store one piece of a large file; waits like ``store_batch``."""
        return self._submit(self.sink.put_piece, data, offset)

    def _submit(
        self, function: Callable[P, Result], *arguments: P.args, **named: P.kwargs
    ) -> "Future[Result]":
        self._slots.acquire()
        try:
            future = self._executor.submit(function, *arguments, **named)
        except BaseException:
            self._slots.release()
            raise
        future.add_done_callback(lambda _: self._slots.release())
        return future


def _store_all(sink: ContentSink, batch: list[bytes]) -> list[Content]:
    return [sink.put_bytes(data) for data in batch]


class ContentWriter:
    """Collects the files of one layer; a file's number finds its content at the end."""

    def __init__(self, pool: ContentPool) -> None:
        self._pool = pool
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._stored: list[Future[list[Content]] | list[Future[Chunk]]] = []
        self._count = 0

    def add(self, data: bytes) -> int:
        """Store a whole small file; return its number."""
        self._batch.append(data)
        self._batch_bytes += len(data)
        self._count += 1
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_FILES:
            self._flush()
        return self._count - 1

    def add_pieces(self, pieces: Iterator[bytes]) -> int:
        """Store a large file that comes in pieces of the sink's size."""
        self._flush()
        offset = 0
        chunks: list[Future[Chunk]] = []
        for piece in pieces:
            chunks.append(self._pool.store_piece(piece, offset))
            offset += len(piece)
        self._stored.append(chunks)
        self._count += 1
        return self._count - 1

    def contents(self) -> list[Content]:
        """Wait until all is stored; return the contents in the order of numbers.

        Raises:
            whatever the sink raised first.
        """
        self._flush()
        contents: list[Content] = []
        for stored in self._stored:
            if isinstance(stored, list):
                chunks = tuple(future.result() for future in stored)
                contents.append(self._pool.sink.join_pieces(chunks))
            else:
                contents += stored.result()
        return contents

    def _flush(self) -> None:
        if self._batch:
            self._stored.append(self._pool.store_batch(self._batch))
            self._batch, self._batch_bytes = [], 0
