import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.cvmfs import ContentStore, LocalStorage
from workers.cvmfs.errors import Damaged
from workers.cvmfs.objects.content_sink import WHOLE_BYTES
from workers.cvmfs.objects.objects import EMPTY_CONTENT


def objects_in(base: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(base)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in (base / "data").glob("??/*")
    }


@pytest.fixture
def base(tmp_path: Path) -> Path:
    LocalStorage(tmp_path).prepare()
    return tmp_path


def test_putting_twice_is_putting_once(base: Path) -> None:
    data = os.urandom(100)
    large = bytes(WHOLE_BYTES + 1)
    first = ContentStore(LocalStorage(base))
    assert first.put_bytes(data) == first.put_bytes(data)
    before_large = first.put(io.BytesIO(large), len(large))
    before = objects_in(base)
    assert len(before) == 2
    second = ContentStore(LocalStorage(base))
    assert second.put_bytes(data) == first.put_bytes(data)
    assert second.put(io.BytesIO(large), len(large)) == before_large
    assert objects_in(base) == before
    assert list((base / "data/txn").iterdir()) == []


def test_the_empty_file_is_an_object_like_any_other(base: Path) -> None:
    sink = ContentStore(LocalStorage(base))
    assert sink.put_bytes(b"") == sink.put(io.BytesIO(), 0) == EMPTY_CONTENT
    (path,) = (base / "data").glob("e8/*")
    assert path.read_bytes() == bytes.fromhex("789c030000000001")


def test_an_object_cut_short_by_a_power_failure_is_stored_again(base: Path) -> None:
    data = os.urandom(1000)
    ContentStore(LocalStorage(base)).put_bytes(data)
    (path,) = (base / "data").glob("??/*")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    ContentStore(LocalStorage(base)).put_bytes(data)
    assert path.read_bytes() == whole


def test_objects_are_looked_up_again_after_forgetting(base: Path) -> None:
    sink = ContentStore(LocalStorage(base))
    sink.put_bytes(b"abc")
    (path,) = (base / "data").glob("??/*")
    path.unlink()
    sink.put_bytes(b"abc")
    assert not path.exists()
    sink.forget()
    sink.put_bytes(b"abc")
    assert path.exists()


@given(st.binary(max_size=50), st.integers(1, 100))
def test_a_stream_that_ends_early_is_refused(data: bytes, missing: int) -> None:
    class Nowhere(LocalStorage):
        def put(self, path: str, data: bytes) -> bool:
            raise AssertionError("nothing may be stored")

    sink = ContentStore(Nowhere(Path("/nonexistent")))
    with pytest.raises(Damaged, match=f"ends {missing} bytes early"):
        sink.put(io.BytesIO(data), len(data) + missing)


def test_a_large_stream_that_ends_early_leaves_nothing(base: Path) -> None:
    sink = ContentStore(LocalStorage(base))
    with pytest.raises(Damaged):
        sink.put(io.BytesIO(bytes(WHOLE_BYTES)), WHOLE_BYTES + 1)
    assert objects_in(base) == {}
    assert list((base / "data/txn").iterdir()) == []


def test_only_the_bytes_of_the_file_are_taken_from_a_stream(base: Path) -> None:
    stream = io.BytesIO(b"first" + bytes(WHOLE_BYTES + 1) + b"last")
    sink = ContentStore(LocalStorage(base))
    sink.put(stream, 5)
    sink.put(stream, WHOLE_BYTES + 1)
    assert stream.read() == b"last"


def test_a_stream_that_gives_little_at_a_time_is_read_on(base: Path) -> None:
    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 3))

    sink = ContentStore(LocalStorage(base))
    assert sink.put(Trickle(b"0123456789"), 10) == sink.put_bytes(b"0123456789")


def test_many_threads_may_put_the_same_at_once(base: Path) -> None:
    sink = ContentStore(LocalStorage(base))
    blobs = [b"%d" % (number % 50) for number in range(1000)]
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(sink.put_bytes, blobs))
    assert len(objects_in(base)) == 50
    assert len(set(contents)) == 50
    assert list((base / "data/txn").iterdir()) == []


def test_content_does_not_depend_on_how_it_was_put(base: Path) -> None:
    sink = ContentStore(LocalStorage(base))
    for size in (10, WHOLE_BYTES, WHOLE_BYTES + 1):
        data = bytes(size)
        assert sink.put_bytes(data) == sink.put(io.BytesIO(data), size)
