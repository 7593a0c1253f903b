"""What layers may hold together, and when it is too much."""

from collections.abc import Callable

import pytest

from tests.support.images import tars
from tests.support.images.block_stream import BlockStream
from tests.support.images.bombs import BOMBS
from tests.support.images.layer_trees import layer_of
from tests.support.repositories.memory_sink import MemorySink
from workers.images.layers.budget import Budget
from workers.images.layers.content import ContentPool
from workers.images.layers.merge import merge
from workers.images.layers.read import read_layer
from workers.images.rejected import ImageRejected
from workers.images.tar.fields import DamagedTar


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


@pytest.mark.parametrize("entry", [tars.file, tars.whiteout])
def test_a_directory_of_too_many_entries_is_refused(
    monkeypatch: pytest.MonkeyPatch, entry: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr("workers.images.layers.budget.MOST_IN_DIRECTORY", 3)
    entries = [entry(b"d/%d" % number) for number in range(4)]
    layer_of(tars.tar(*entries[:3], *entries[:3], tars.file(b"e/4")))
    exhausted("more than 3 entries in the directory 'd'", 9, 9, tars.tar(*entries))


def test_layers_may_not_fill_a_directory_together_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.images.layers.budget.MOST_IN_DIRECTORY", 3)
    first = layer_of(tars.tar(tars.file(b"d/1"), tars.file(b"d/2")))
    second = layer_of(tars.tar(tars.file(b"d/3"), tars.file(b"d/4")))
    with pytest.raises(ImageRejected, match="more than 3 entries in the directory"):
        merge([first, second])


def test_a_layer_says_what_its_names_and_attributes_took() -> None:
    budget = Budget(99, 9)
    entries = [tars.symlink(b"abc", b"target"), tars.file(b"d/e")]
    first = layer_of(tars.tar(*entries), budget=budget)
    second = layer_of(tars.tar(*entries), budget=budget)
    assert first.metadata == second.metadata == len(b"abctargeted") + 256


def test_nothing_refills_a_budget() -> None:
    budget = Budget(5, 9)
    attempts: list[Callable[[], None]] = [
        lambda: budget.spend_file(-1, 0),
        lambda: budget.spend_file(0, -1),
        lambda: budget.spend_layer(-1, 1),
        lambda: budget.spend_layer(0, -1),
        lambda: budget.spend_layer(0, 1, -1),
        lambda: budget.spend_metadata(-1),
        lambda: budget.spend_xattrs(-1, 0),
        lambda: budget.spend_xattrs(0, -1),
        lambda: budget.spend_extents(-1),
        lambda: budget.spend_header(-1),
        lambda: budget.spend_stream(-1),
    ]
    for spend in attempts:
        with pytest.raises(ImageRejected, match="a size of -1 bytes"):
            spend()


def test_a_hole_behind_a_negative_size_is_refused() -> None:
    blob = BOMBS["a hole of 1 EiB behind a negative size"][0]()
    with pytest.raises(DamagedTar, match="a sparse file of -"):
        layer_of(blob)


def test_attributes_extents_and_headers_have_limits_of_all_layers_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = {b"user.%d" % n: b"" for n in range(3)}
    sparse = tars.pax_sparse(b"s", 9, [(0, b""), (1, b"2"), (2, b"")], "1.0")
    for limit, value, match, entry in (
        ("_XATTRS", 5, "more than 5 extended", tars.xattrs(names, tars.file(b"a"))),
        ("_EXTENTS", 5, "more than 5 extents", sparse),
        (
            "_HEADERS_OF_IMAGE",
            1000,
            "PAX records and long names",
            tars.pax({b"comment": b"c" * 3000}, tars.file(b"a")),
        ),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"workers.images.layers.budget.{limit}", value)
            budget = Budget(99, 8)
            layer_of(tars.tar(entry), budget=budget)
            with pytest.raises(ImageRejected, match=match):
                layer_of(tars.tar(entry), budget=budget)


def test_foreign_attributes_are_not_counted_as_they_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.images.layers.budget._XATTRS", 0)
    layer_of(tars.tar(tars.xattrs({b"security.selinux": b"l"}, tars.file(b"a"))))


def test_each_name_of_a_large_file_counts_all_of_its_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.images.layers.budget._METADATA_BYTES", 20_000)
    links = [tars.hard_link(b"%d" % n, b"large") for n in range(9)]
    for size, is_refused in ((500, False), (50_000, True)):
        with ContentPool(MemorySink(piece_size=1000), threads=1) as pool:
            blob = BlockStream(tars.tar(tars.file(b"large", bytes(size)), *links))
            if not is_refused:
                read_layer(blob, pool, Budget(1 << 20, 99))
                continue
            with pytest.raises(ImageRejected, match="names and attributes"):
                read_layer(blob, pool, Budget(1 << 20, 99))


def test_directories_and_links_below_count_what_they_take_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.images.layers.budget._METADATA_BYTES", 10_000)
    for entries in (
        [tars.directory(b"%d" % n) for n in range(50)],
        [tars.hard_link(b"%d" % n, b"lower") for n in range(50)],
        [tars.whiteout(b"%d" % n) for n in range(50)],
    ):
        exhausted("names and attributes", 9, 99, tars.tar(*entries))


def test_directories_that_no_member_names_count_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.images.layers.budget._METADATA_BYTES", 10_000)
    deep = b"/".join([b"d"] * 50)
    match = "names and attributes take more than 10000 bytes"
    exhausted(match, 9, 9, tars.tar(tars.gnu_name(deep, tars.file(b"x"))))
