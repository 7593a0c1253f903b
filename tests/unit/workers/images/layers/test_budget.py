"""What layers may hold together, and when it is too much."""

import pytest

from tests.support.images import tars
from tests.support.images.layer_trees import layer_of
from workers.images.layers.budget import Budget
from workers.images.rejected import ImageRejected


def exhausted(match: str, size: int, files: int, blob: bytes) -> None:
    with pytest.raises(ImageRejected, match=match):
        layer_of(blob, budget=Budget(size, files))


def test_more_files_than_allowed_are_refused() -> None:
    entries = [tars.directory(b"d"), tars.file(b"a"), tars.whiteout(b"w")]
    assert layer_of(tars.tar(*entries), budget=Budget(9, 3)).entries == 3
    exhausted("more than 2 files", 9, 2, tars.tar(*entries))


def test_more_bytes_than_allowed_are_refused() -> None:
    data = tars.tar(tars.file(b"a", b"123"), tars.file(b"b", b"456"))
    assert layer_of(data, budget=Budget(6, 9)).size == 6
    exhausted("larger than 5 bytes", 5, 9, data)


def test_limits_are_those_of_all_layers_together() -> None:
    budget = Budget(5, 9)
    data = tars.tar(tars.file(b"a", b"123"))
    layer_of(data, budget=budget)
    with pytest.raises(ImageRejected, match="larger than 5 bytes"):
        layer_of(data, budget=budget)


def test_a_file_that_is_too_large_is_refused_before_it_has_come() -> None:
    exhausted("larger than 1000 bytes", 1000, 9, tars.file(b"a", size=1 << 40))
    holes = tars.old_gnu_sparse(b"a", 1 << 40, [(0, b"x")])
    exhausted("larger than 1000 bytes", 1000, 9, holes)


def test_names_that_would_fill_the_memory_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.images.layers.budget._METADATA_BYTES", 100_000)
    match = "names and attributes take more than 100000 bytes"
    deep = b"/".join([b"d"] * 2000)
    exhausted(match, 9, 9, tars.tar(tars.gnu_name(deep, tars.file(b"x"))))
    value = {b"user.%d" % n: b"v" * 60_000 for n in range(2)}
    exhausted(match, 9, 9, tars.tar(tars.xattrs(value, tars.file(b"x"))))


def test_directories_that_no_member_names_count_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.images.layers.budget._METADATA_BYTES", 10_000)
    deep = b"/".join([b"d"] * 50)
    match = "names and attributes take more than 10000 bytes"
    exhausted(match, 9, 9, tars.tar(tars.gnu_name(deep, tars.file(b"x"))))
