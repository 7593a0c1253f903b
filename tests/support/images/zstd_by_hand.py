"""Zstd written by hand, for windows that its library takes only with much memory.

Source: RFC 8878 3.1.1.
"""

BLOCK = 1 << 17


def frame(plain: bytes, window_log: int) -> bytes:
    """Return a frame of blocks as they are, or of one byte where that is all."""
    blocks = [plain[at : at + BLOCK] for at in range(0, len(plain), BLOCK)] or [b""]
    # No size of the content, no checksum, no dictionary.
    head = bytes.fromhex("28b52ffd") + bytes([0, window_log - 10 << 3])
    last = len(blocks) - 1
    return head + b"".join(
        _block(data, is_last=number == last) for number, data in enumerate(blocks)
    )


def _block(data: bytes, *, is_last: bool) -> bytes:
    is_run = len(data) > 1 and data == data[:1] * len(data)
    header = len(data) << 3 | is_run << 1 | is_last
    return header.to_bytes(3, "little") + (data[:1] if is_run else data)
