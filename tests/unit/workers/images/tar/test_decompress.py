"""Layers come out of their compression whole, or with an error of ours."""

import bz2
import contextlib
import gzip
import hashlib
import lzma
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from isal import igzip

from tests.support.images import zstd_by_hand
from tests.support.images.block_stream import BlockStream
from workers.errors import PermanentError
from workers.images.tar.decompress import DamagedLayer, LayerStream

TEXT = b"".join(b"line %d of a layer\n" % n for n in range(60_000))
SKIPPABLE = b"\x50\x2a\x4d\x18" + (1000).to_bytes(4, "little") + bytes(1000)


def unpack(blob: bytes, block: int = 1 << 20) -> bytes:
    return b"".join(blocks(blob, block))


def blocks(blob: bytes, block: int = 1 << 20) -> list[bytes]:
    stream = LayerStream(BlockStream(blob, block), lambda _: None)
    return list(iter(lambda: stream.read(1), b""))


def gzip_header_with_everything() -> bytes:
    """Return a gzip file with extra field, name, comment and header checksum."""
    plain = gzip.compress(TEXT, mtime=0)
    header = plain[:3] + b"\x1e" + plain[4:10] + b"\x03\0abc" + b"name\0" + b"comment\0"
    return header + (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little") + plain[10:]


COMPRESSED = pytest.mark.parametrize(
    "blob",
    [
        TEXT,
        gzip.compress(TEXT),
        gzip_header_with_everything(),
        gzip.compress(TEXT[:5]) + gzip.compress(b"") + gzip.compress(TEXT[5:]),
        b"".join(gzip.compress(TEXT[n : n + 500]) for n in range(0, len(TEXT), 500)),
        gzip.compress(TEXT) + bytes(700),
        zstandard.compress(TEXT),
        zstandard.compress(TEXT[:5]) + zstandard.compress(TEXT[5:]),
        SKIPPABLE + zstandard.compress(TEXT),
        zstandard.compress(TEXT[:9]) + 2 * SKIPPABLE + zstandard.compress(TEXT[9:]),
        zstandard.compress(TEXT) + SKIPPABLE,
        zstandard.ZstdCompressor(write_content_size=False).compress(TEXT),
    ],
    ids=[
        "plain",
        "gzip",
        "gzip with all header fields",
        "gzip of three members",
        "gzip of many members",
        "gzip with padding",
        "zstd",
        "zstd of two frames",
        "zstd behind a skippable frame",
        "zstd around skippable frames",
        "zstd before a skippable frame",
        "zstd of unknown size",
    ],
)


@COMPRESSED
@pytest.mark.parametrize("block", [1 << 20, 4096, 100])
def test_every_compression_gives_the_layer_again(blob: bytes, block: int) -> None:
    assert unpack(blob, block) == TEXT


@COMPRESSED
def test_the_diff_id_is_the_digest_of_what_came_out(blob: bytes) -> None:
    stream = LayerStream(BlockStream(blob), lambda _: None)
    while stream.read(1):
        pass
    assert stream.diff_id == f"sha256:{hashlib.sha256(TEXT).hexdigest()}"


@pytest.mark.parametrize(
    "blob", [gzip.compress(TEXT), zstandard.compress(TEXT)], ids=["gzip", "zstd"]
)
def test_a_blob_that_comes_byte_by_byte_is_recognised(blob: bytes) -> None:
    assert unpack(blob, 1) == TEXT


def test_a_layer_of_no_bytes_is_an_empty_layer() -> None:
    assert unpack(b"") == b""


@pytest.mark.parametrize("length", [2, 9, 11, 2000, -9, -8, -4, -1])
def test_a_gzip_that_is_cut_short_is_refused(length: int) -> None:
    with pytest.raises(DamagedLayer, match="gzip: the layer is cut short"):
        unpack(gzip.compress(TEXT)[:length])


def test_a_gzip_whose_second_member_is_cut_short_is_refused() -> None:
    with pytest.raises(DamagedLayer, match="gzip: the layer is cut short"):
        unpack(gzip.compress(TEXT) + gzip.compress(TEXT)[:-1])


@pytest.mark.parametrize(
    "at",
    [2, 200, 2000, -8, -4],
    ids=["method", "tables", "data", "checksum", "size"],
)
def test_a_gzip_with_a_wrong_byte_is_refused(at: int) -> None:
    blob = bytearray(gzip.compress(TEXT, mtime=0))
    blob[at] ^= 0xE1
    with pytest.raises(DamagedLayer, match="gzip: the layer is"):
        unpack(bytes(blob))


def test_rubbish_behind_a_gzip_is_refused() -> None:
    with pytest.raises(DamagedLayer, match="gzip: the layer is corrupt") as caught:
        unpack(gzip.compress(TEXT) + b"rubbish" * 3)
    assert "b'" not in str(caught.value)


def test_a_zstd_with_a_wrong_byte_is_refused() -> None:
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    blob = bytearray(compressor.compress(TEXT))
    blob[-1] ^= 1
    with pytest.raises(DamagedLayer, match="zstd: the layer is corrupt"):
        unpack(bytes(blob))


def test_a_zstd_that_is_cut_short_has_another_diff_id() -> None:
    blob = zstandard.compress(TEXT)
    assert unpack(blob[: len(blob) // 2]) != TEXT


def test_a_zstd_window_of_128_mebibytes_is_read() -> None:
    assert unpack(zstd_by_hand.frame(TEXT, 27)) == TEXT


@pytest.mark.parametrize("before", [b"", zstandard.compress(b"x"), SKIPPABLE])
def test_a_zstd_window_that_would_fill_the_memory_is_refused(before: bytes) -> None:
    with pytest.raises(DamagedLayer, match=r"window of 268435456 .* --long=27"):
        unpack(before + zstd_by_hand.frame(TEXT, 28))


def test_one_layer_at_a_time_has_a_large_window_and_waits_for_it_as_told() -> None:
    """Until somebody who waits for it is told that it is not wanted any more."""

    class EnoughError(Exception):
        pass

    def give_up(size: int) -> None:
        if not size:
            raise EnoughError

    blob = zstd_by_hand.frame(TEXT, 24)
    with LayerStream(BlockStream(blob), lambda _: None) as first:
        assert first.read(1)
        with (
            LayerStream(BlockStream(blob), give_up) as second,
            pytest.raises(EnoughError),
        ):
            second.read(1)
        # Those of usual windows need not wait.
        assert unpack(zstandard.compress(TEXT, 19)) == TEXT
    assert unpack(blob) == TEXT


def test_a_layer_that_is_refused_gives_its_large_window_back() -> None:
    blob = zstd_by_hand.frame(TEXT, 24)
    for _ in range(2):
        with (
            LayerStream(BlockStream(blob + b"rubbish"), lambda _: None) as stream,
            pytest.raises(DamagedLayer),
        ):
            list(iter(lambda: stream.read(1), b""))


def test_a_gzip_header_without_an_end_is_refused() -> None:
    blob = gzip.compress(TEXT, mtime=0)
    blob = blob[:3] + b"\x08" + blob[4:10] + b"n" * 1_000_000
    with pytest.raises(DamagedLayer, match="gzip: the layer is"):
        unpack(blob)


@pytest.mark.parametrize(
    ("blob", "name"), [(bz2.compress(TEXT), "bzip2"), (lzma.compress(TEXT), "xz")]
)
def test_other_compressions_are_refused_by_name(blob: bytes, name: str) -> None:
    with pytest.raises(DamagedLayer, match=f"compressed with {name}"):
        unpack(blob)


@pytest.mark.parametrize(
    "blob",
    [igzip.compress(bytes(1 << 28)), zstandard.compress(bytes(1 << 28))],
    ids=["gzip", "zstd"],
)
def test_a_bomb_comes_out_in_small_blocks_and_stops_when_told(blob: bytes) -> None:
    class EnoughError(Exception):
        pass

    lengths = []

    def spend(size: int) -> None:
        lengths.append(size)
        if len(lengths) > 5:
            raise EnoughError

    stream = LayerStream(BlockStream(blob), spend)
    with pytest.raises(EnoughError):
        list(iter(lambda: stream.read(1), b""))
    assert max(lengths) <= 1 << 20


@given(st.binary(max_size=2000), st.sampled_from([b"", b"\x1f\x8b", b"\x1f\x8b\x08\0"]))
def test_any_bytes_come_out_or_are_refused(blob: bytes, magic: bytes) -> None:
    with contextlib.suppress(PermanentError):
        unpack(magic + blob)


@given(st.data())
def test_a_layer_damaged_anywhere_comes_out_or_is_refused(draw: st.DataObject) -> None:
    plain = TEXT[:3000]
    blob = bytearray(
        draw.draw(
            st.sampled_from(
                [
                    gzip.compress(plain, mtime=0),
                    gzip.compress(plain[:9], mtime=0) + gzip.compress(plain, mtime=0),
                    zstandard.compress(plain) + SKIPPABLE + zstandard.compress(plain),
                ]
            )
        )
    )
    for _ in range(draw.draw(st.integers(1, 3))):
        at = draw.draw(st.integers(0, len(blob) - 1))
        blob[at] = draw.draw(st.integers(0, 255))
    with contextlib.suppress(PermanentError):
        unpack(bytes(blob), draw.draw(st.sampled_from([1 << 20, 50])))
