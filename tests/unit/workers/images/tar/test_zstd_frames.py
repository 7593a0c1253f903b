"""Frames of zstd are followed without being unpacked."""

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images import zstd_by_hand
from tests.support.images.block_stream import BlockStream
from workers.images.tar.zstd_frames import ZstdFrames

TEXT = b"".join(b"line %d of a layer\n" % n for n in range(30_000))
SKIPPABLE = b"\x5f\x2a\x4d\x18" + (300_000).to_bytes(4, "little") + bytes(300_000)


def followed(blob: bytes, block: int = 1 << 20) -> tuple[bytes, list[int]]:
    """Return what was passed on, and the window of each frame."""
    windows: list[int] = []
    frames = ZstdFrames(BlockStream(blob, block), windows.append)
    return b"".join(iter(frames.read, b"")), windows


def frame(plain: bytes = TEXT, **parameters: int) -> bytes:
    made = zstandard.ZstdCompressionParameters(**parameters)
    return zstandard.ZstdCompressor(compression_params=made).compress(plain)


FRAMES = [
    (zstd_by_hand.frame(TEXT, 21), 1 << 21),
    (zstd_by_hand.frame(TEXT, 27), 1 << 27),
    (zstd_by_hand.frame(TEXT, 41), 1 << 41),
    (zstd_by_hand.frame(bytes(1 << 20), 10), 1 << 10),
    (frame(b"x" * 200), 200),  # one segment, the size in one byte
    (frame(b"x" * 70_000), 70_000),
    (frame(b"x" * 1000), 1000 - 256),  # in two
    (frame(bytes(3 << 20), write_checksum=1, window_log=20), 1 << 20),
    (zstd_by_hand.frame(b"", 10), 1 << 10),
]


@pytest.mark.parametrize(("blob", "window"), FRAMES)
@pytest.mark.parametrize("block", [1 << 20, 7])
def test_the_window_of_a_frame_is_told_and_the_frame_passed_on(
    blob: bytes, window: int, block: int
) -> None:
    assert followed(blob, block) == (blob, [window])


def test_all_frames_of_a_stream_are_found_whatever_stands_between_them() -> None:
    parts = [blob for blob, _ in FRAMES]
    blob = SKIPPABLE.join([b"", *parts, b""])
    assert followed(blob, 1000) == (blob, [window for _, window in FRAMES])


def test_windows_have_eighths() -> None:
    head = bytes.fromhex("28b52ffd") + b"\0" + bytes([(11 << 3) + 5])
    assert followed(head)[1] == [(1 << 21) + 5 * (1 << 18)]


def test_nothing_of_a_frame_is_passed_on_before_it_is_admitted() -> None:
    class RefusedError(Exception):
        pass

    def refuse(_window: int) -> None:
        raise RefusedError

    frames = ZstdFrames(BlockStream(FRAMES[0][0]), refuse)
    with pytest.raises(RefusedError):
        frames.read()


@given(st.binary(max_size=300), st.sampled_from([b"", FRAMES[4][0][:5], FRAMES[0][0]]))
def test_any_bytes_are_passed_on(rubbish: bytes, before: bytes) -> None:
    assert followed(before + rubbish)[0] == before + rubbish


@given(st.integers(0, 60), st.sampled_from(FRAMES))
def test_a_frame_that_is_cut_short_is_passed_on(
    length: int, given: tuple[bytes, int]
) -> None:
    blob = given[0][:length]
    assert blob.startswith(followed(blob)[0])
