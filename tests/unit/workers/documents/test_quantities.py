"""Sizes and times, as people write them."""

import pytest

from workers.documents.quantities import BadQuantity, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("20GiB", 20 * 2**30),
        ("1.5 MiB", 1_572_864),
        ("500MB", 500_000_000),
        ("2kB", 2000),
        ("2KB", 2000),
        ("3TiB", 3 * 2**40),
        ("7B", 7),
        ("7", 7),
    ],
)
def test_sizes_are_bytes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "GiB", "1 iB", "-1", "1e9", "20gib", "٢GiB", "1\n"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(BadQuantity):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000), ("2w", 1_209_600)],
)
def test_times_are_seconds(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "m", "15 m", "1.5h", "-1s", "15m\n"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadQuantity):
        parse_duration(text)
