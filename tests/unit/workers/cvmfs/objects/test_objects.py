import contextlib
import io
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.cvmfs import Content, ContentHash, ContentStore, Kind, LocalStorage
from workers.cvmfs.errors import Damaged, FormatError, Malformed, NotFound
from workers.cvmfs.objects.content_sink import (
    CHUNK_BYTES,
    CHUNKED_ABOVE_BYTES,
    WHOLE_BYTES,
)
from workers.cvmfs.objects.objects import (
    BLOCK_BYTES,
    EMPTY_HASH,
    get_object,
    open_content,
    pack,
    put_object,
    read_content,
    unpack,
)


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    storage = LocalStorage(tmp_path)
    storage.prepare()
    return storage


def test_the_empty_object_is_the_one_every_cvmfs_tool_makes() -> None:
    # Found in a repository that cvmfs_server wrote (cvmfs-format.md section 2).
    assert pack(b"") == bytes.fromhex("789c030000000001")
    assert str(EMPTY_HASH) == "e8ec3d88b62ebf526e4e5a4ff6162a3aa48a6b78"


@given(st.binary(max_size=5000), st.integers(0, 3))
def test_every_object_is_a_zlib_stream_of_its_content(data: bytes, level: int) -> None:
    assert zlib.decompress(pack(data, level)) == data
    assert unpack(pack(data, level)) == data


@pytest.mark.parametrize("kind", [Kind.CERTIFICATE, Kind.METAINFO])
def test_what_a_stratum_1_compresses_again_is_compressed_as_it_does(
    storage: LocalStorage, kind: Kind
) -> None:
    content = b"-----BEGIN CERTIFICATE-----" + bytes(range(256)) * 4
    content_hash, _ = put_object(storage, content, kind)
    assert storage.get(content_hash.path(kind)) == zlib.compress(content, 6)


@given(st.binary(max_size=200))
def test_any_bytes_unpack_or_raise_our_own_error(stored: bytes) -> None:
    with contextlib.suppress(FormatError):
        unpack(stored)


@pytest.mark.parametrize(
    "stored",
    [
        zlib.compress(b"abc")[:-1],
        zlib.compress(b"abc") + b"x",
        zlib.compress(b"abc") + zlib.compress(b"def"),
        b"abc",
    ],
)
def test_anything_but_one_whole_stream_is_refused(stored: bytes) -> None:
    with pytest.raises(Malformed):
        unpack(stored)


def test_a_stream_may_not_expand_without_limit() -> None:
    bomb = zlib.compress(bytes(10_000_000))
    with pytest.raises(Malformed, match="more than 1000 bytes"):
        unpack(bomb, 1000)
    assert len(unpack(bomb, 10_000_000)) == 10_000_000


def test_an_object_is_proven_by_hash_and_size(storage: LocalStorage) -> None:
    content_hash, is_new = put_object(storage, b"text", Kind.METAINFO)
    assert is_new
    assert get_object(storage, content_hash, Kind.METAINFO) == b"text"
    assert get_object(storage, content_hash, Kind.METAINFO, size=4) == b"text"
    for wrong_size in (3, 5):
        with pytest.raises(Damaged):
            get_object(storage, content_hash, Kind.METAINFO, size=wrong_size)
    with pytest.raises(NotFound):
        get_object(storage, content_hash, Kind.HISTORY)


def test_an_object_of_other_content_is_damaged(
    storage: LocalStorage, tmp_path: Path
) -> None:
    content_hash, _ = put_object(storage, b"text", Kind.CATALOG)
    (tmp_path / content_hash.path(Kind.CATALOG)).write_bytes(zlib.compress(b"best"))
    with pytest.raises(Damaged, match="does not have the content its name says"):
        get_object(storage, content_hash, Kind.CATALOG)


SIZES = [
    0,
    1,
    BLOCK_BYTES,
    WHOLE_BYTES,
    WHOLE_BYTES + 1,
    CHUNKED_ABOVE_BYTES + 1,
]


@pytest.mark.parametrize("size", SIZES)
def test_content_is_read_back_as_it_was_put(storage: LocalStorage, size: int) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    content = ContentStore(storage).put(io.BytesIO(data), size)
    assert content.size == size
    assert read_content(storage, content) == data
    with open_content(storage, content) as stream:
        assert stream.read(7) == data[:7]
        assert stream.read() == data[7:]
        assert stream.read() == b""


def test_content_stored_without_compression_is_read_too(storage: LocalStorage) -> None:
    digest = ContentHash.of(b"plain")
    storage.put(digest.path(Kind.BULK), b"plain")
    assert read_content(storage, Content(digest.digest, 5, compression=1)) == b"plain"


@pytest.mark.parametrize("size", [10, WHOLE_BYTES + 1, CHUNKED_ABOVE_BYTES + 5])
@pytest.mark.parametrize("wrong", ["byte", "cut", "longer", "size", "gone"])
def test_whoever_reads_all_the_bytes_has_the_right_ones(
    storage: LocalStorage, tmp_path: Path, size: int, wrong: str
) -> None:
    content = ContentStore(storage).put(io.BytesIO(bytes(size)), size)
    digest = content.chunks[-1].hash if content.chunks else content.hash
    assert digest is not None
    kind = Kind.PARTIAL if content.chunks else Kind.BULK
    path = tmp_path / ContentHash(digest).path(kind)
    stored = path.read_bytes()
    if wrong == "byte":
        path.write_bytes(stored[:-3] + b"\xff" + stored[-2:])
    elif wrong == "cut":
        path.write_bytes(stored[:-1])
    elif wrong == "longer":
        path.write_bytes(stored + b"\0")
    elif wrong == "gone":
        path.unlink()
    elif content.chunks:
        *most, last = content.chunks
        longer = last._replace(size=last.size + 1)
        content = content._replace(chunks=(*most, longer), size=size + 1)
    else:
        content = content._replace(size=size + 1)
    received: list[int] = []
    with open_content(storage, content) as stream:
        pieces = iter(lambda: stream.read(min(100_000, size - sum(received))), b"")
        with pytest.raises((Damaged, NotFound)):
            received.extend(map(len, pieces))
    assert sum(received) < size


def test_unknown_compressions_and_algorithms_are_refused(
    storage: LocalStorage,
) -> None:
    content = ContentStore(storage).put_bytes(b"x")
    with pytest.raises(Malformed):
        read_content(storage, content._replace(compression=2))
    with pytest.raises(Malformed):
        read_content(storage, content._replace(algorithm=3))


def test_a_file_above_16_mib_is_cut_at_every_8_mib(storage: LocalStorage) -> None:
    size = CHUNKED_ABOVE_BYTES + 1
    content = ContentStore(storage).put(io.BytesIO(bytes(size)), size)
    assert content.hash is None
    assert [(chunk.offset, chunk.size) for chunk in content.chunks] == [
        (0, CHUNK_BYTES),
        (CHUNK_BYTES, CHUNK_BYTES),
        (2 * CHUNK_BYTES, 1),
    ]
    limit = CHUNKED_ABOVE_BYTES
    assert ContentStore(storage).put(io.BytesIO(bytes(limit)), limit).chunks == ()
