"""Paths through symlinks and deep directories end somewhere, or are refused."""

import pytest

from tests.support.images import tars
from tests.support.images.layer_trees import layer, names
from workers.images.rejected import ImageRejected


def refused(match: str, *entries: bytes) -> None:
    with pytest.raises(ImageRejected, match=match):
        layer(*entries)


def test_loops_of_symlinks_are_links_until_somebody_goes_through() -> None:
    loop = (tars.symlink(b"a", b"b"), tars.symlink(b"b", b"a"))
    assert names(layer(*loop)) == {b"a", b"b"}
    refused("loop of symlinks", *loop, tars.file(b"a/x"))
    refused("loop of symlinks", *loop, tars.hard_link(b"h", b"b/x"))
    refused("loop of symlinks", tars.symlink(b"s", b"s/s"), tars.file(b"s/x"))


def test_symlinks_that_lead_too_deep_are_refused() -> None:
    deep = b"/".join([b"d" * 250] * 16)
    refused(
        "too deep",
        tars.gnu_link(deep, tars.symlink(b"a", b"")),
        tars.file(b"a/" + b"x" * 80 + b"/y"),
    )


def test_two_thousand_directories_may_lie_in_each_other() -> None:
    path = b"d/" * 2000
    read = layer(tars.gnu_name(path + b"f", tars.file(b"x", b"1")))
    assert len(read.tree.directories) == 2001
    read = layer(tars.gnu_name(path + b"f", tars.file(b"x", b"1")), tars.file(b"d"))
    assert names(read) == {b"d"}
