"""Storing the bytes of files while the layer is still being read.

One thread reads the stream; a few others compress, hash and write. Small files are
handed over in batches, because a hand-over costs as much as compressing a kilobyte;
large ones in pieces that are stored as chunks of their own. The bytes waiting are
bounded, so that a fast registry cannot fill the memory.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import ParamSpec, Self, TypeVar

from workers.cvmfs import Chunk, Content
from workers.publishing.publisher import ContentSink

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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
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
    """Stores the files of one layer and gives their contents in the same order."""

    def __init__(self, pool: ContentPool) -> None:
        self._pool = pool
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._stored: deque[Future[list[Content]] | list[Future[Chunk]]] = deque()
        self._ready: deque[Content] = deque()

    def add(self, data: bytes) -> None:
        """Store a whole small file."""
        self._batch.append(data)
        self._batch_bytes += len(data)
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_FILES:
            self._flush()

    def add_pieces(self, pieces: Iterator[bytes]) -> None:
        """Store a large file that comes in pieces of the sink's size.

        Raises:
            whatever the sink raised for an early piece; no use in reading on.
        """
        self._flush()
        offset = stored = 0
        chunks: list[Future[Chunk]] = []
        for piece in pieces:
            chunks.append(self._pool.store_piece(piece, offset))
            offset += len(piece)
            while stored < len(chunks) and chunks[stored].done():
                chunks[stored].result()
                stored += 1
        self._stored.append(chunks)

    def next_content(self) -> Content:
        """Return the content of the first file that this has not been asked for yet.

        Waits until it is stored. There must have been one ``add`` for each call.

        Raises:
            whatever the sink raised.
        """
        if not self._ready:
            if not self._stored:
                self._flush()
            stored = self._stored.popleft()
            if isinstance(stored, list):
                chunks = tuple(future.result() for future in stored)
                self._ready.append(self._pool.sink.join_pieces(chunks))
            else:
                self._ready.extend(stored.result())
        return self._ready.popleft()

    def _flush(self) -> None:
        if self._batch:
            self._stored.append(self._pool.store_batch(self._batch))
            self._batch, self._batch_bytes = [], 0
