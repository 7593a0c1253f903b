"""Files are stored beside the reading, in order, and never too many at once."""

import time
from collections.abc import Callable, Iterator
from threading import Event, Lock, Thread

import pytest

from tests.support.repositories.memory_sink import MemorySink
from workers.cvmfs import Chunk, Content
from workers.images.layers.content import ContentPool, ContentWriter


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class GatedSink(MemorySink):
    """Stores nothing until the gate is open."""

    def __init__(self) -> None:
        super().__init__(piece_size=10)
        self.gate = Event()
        self.entered = 0
        self._entering = Lock()

    def put_piece(self, data: bytes, offset: int) -> Chunk:
        with self._entering:
            self.entered += 1
        assert self.gate.wait(30)
        return super().put_piece(data, offset)


def test_contents_come_in_the_order_of_the_files() -> None:
    sink = MemorySink(piece_size=10)
    with ContentPool(sink, threads=4) as pool:
        writer = ContentWriter(pool)
        for n in range(1000):
            if n % 7:
                writer.add(b"%d" % n)
            else:
                writer.add_pieces(iter([b"%10d" % n, b"end"]))
        contents = [writer.next_content() for _ in range(1000)]
    assert [sink.read(content) for content in contents] == [
        b"%d" % n if n % 7 else b"%10dend" % n for n in range(1000)
    ]


def test_contents_may_be_asked_for_while_files_are_added() -> None:
    sink = MemorySink()
    with ContentPool(sink, threads=2) as pool:
        writer = ContentWriter(pool)
        for n in range(300):
            writer.add(b"%d" % n)
            assert sink.read(writer.next_content()) == b"%d" % n


def test_only_so_many_pieces_wait() -> None:
    sink = GatedSink()
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield b"x"

    with ContentPool(sink, threads=2, waiting=3) as pool:
        writer = ContentWriter(pool)
        reading = Thread(target=writer.add_pieces, args=(pieces(),))
        reading.start()
        # Five are stored or wait, the sixth is at hand: there nobody reads on.
        wait_until(lambda: sink.entered == 2 and taken == 6)
        sink.gate.set()
        reading.join()
        assert writer.next_content().size == 100
    assert taken == sink.entered == 100


def test_what_the_sink_raises_for_a_piece_ends_the_reading_of_the_file() -> None:
    class FullSink(MemorySink):
        def put_piece(self, data: bytes, offset: int) -> Chunk:
            raise OSError("the disk is full")

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x"

    with (
        pytest.raises(OSError, match="the disk is full"),
        ContentPool(FullSink(), threads=2) as pool,
    ):
        ContentWriter(pool).add_pieces(endless())


def test_what_the_sink_raises_for_a_file_is_raised_for_its_content() -> None:
    class PickySink(MemorySink):
        def put_bytes(self, data: bytes) -> Content:
            if data == b"bad":
                raise OSError("cannot store that")
            return super().put_bytes(data)

    with ContentPool(PickySink(), threads=2) as pool:
        writer = ContentWriter(pool)
        for n in range(64):
            writer.add(b"%d" % n)
        writer.add(b"bad")
        assert [writer.next_content().size for _ in range(64)]
        with pytest.raises(OSError, match="cannot store that"):
            writer.next_content()


def test_a_pool_that_is_closed_refuses_instead_of_waiting() -> None:
    with ContentPool(MemorySink(), threads=1, waiting=1) as pool:
        pass
    for _ in range(5):
        with pytest.raises(RuntimeError):
            pool.store_batch([b"x"])
