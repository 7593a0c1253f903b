"""What no layer may hold, and that nothing else comes of it."""

import stat
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images import tars
from tests.support.images.layer_trees import entry_at, layer, layer_of, names
from workers.errors import PermanentError
from workers.images.rejected import ImageRejected


def refused(match: str, *entries: bytes) -> None:
    with pytest.raises(ImageRejected, match=match):
        layer(*entries)


@pytest.mark.parametrize(
    "name", [b"../x", b"a/../x", b"a/..", b"..", b"./../x", b"a/../"]
)
def test_names_that_climb_are_refused(name: bytes) -> None:
    refused(r"with \.\.", tars.file(name))
    refused(r"with \.\.", tars.directory(name))
    refused(r"with \.\.", tars.file(b"x"), tars.hard_link(b"h", name))


@pytest.mark.parametrize("name", [b"/x", b"//x", b"/etc/passwd", b"/./x"])
def test_absolute_names_are_refused(name: bytes) -> None:
    refused("absolute name", tars.file(name))


def test_names_with_dots_that_do_not_climb_are_names() -> None:
    wanted = {b"..a", b"a..", b"...", b".a."}
    assert names(layer(*map(tars.file, wanted))) == wanted


def test_names_with_a_nul_are_refused() -> None:
    refused("NUL", tars.pax({b"path": b"a\0b"}, tars.file(b"x")))


def test_names_that_no_file_system_takes_are_refused() -> None:
    longest = b"n" * 255
    path = b"/".join([b"d" * 200] * 20)
    read = layer(*(tars.gnu_name(name, tars.file(b"x")) for name in (longest, path)))
    assert longest in names(read)
    for name in (b"n" * 256, b"a/" + b"n" * 256 + b"/b", path + b"/" + path):
        refused("too long", tars.gnu_name(name, tars.file(b"x")))


@pytest.mark.parametrize("name", [b".wh.", b".wh..", b".wh...", b"a/.wh."])
def test_whiteouts_of_nothing_are_refused(name: bytes) -> None:
    refused("the whiteout", tars.file(name))


def test_entries_below_a_whiteout_are_refused() -> None:
    refused("below a whiteout", tars.file(b"a/.wh.b/c"))


@pytest.mark.parametrize(
    "entry",
    [
        tars.file(b"./"),
        tars.symlink(b".", b"x"),
        tars.file(b"/"),
        tars.hard_link(b".", b"x"),
        tars.file(b""),
    ],
)
def test_the_root_stays_a_directory(entry: bytes) -> None:
    refused("makes its root something else", tars.file(b"x"), entry)


def test_hard_links_to_directories_are_refused() -> None:
    refused(
        "hard link to a directory", tars.directory(b"d"), tars.hard_link(b"h", b"d")
    )


# Any bytes at all.

NAMES = st.sampled_from(
    [
        b"a",
        b"b",
        b"a/b",
        b"a/b/c",
        b"./a",
        b"/",
        b"../x",
        b"/a",
        b".wh.a",
        b"a/.wh.b",
        b".wh..wh..opq",
        b"a/.wh..wh..opq",
        b"",
        b".",
        b"b/..",
        b".wh..wh.plnk/1",
        b"s/x",
    ]
)
NUMBERS = st.integers(-(1 << 60), 1 << 60)


@st.composite
def hostile_entries(draw: st.DrawFn) -> bytes:
    entry: Callable[..., bytes] = tars.member
    raw = entry(
        draw(NAMES),
        draw(st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"6", b"\0", b"S", b"V"])),
        draw(st.binary(max_size=600)),
        link=draw(NAMES),
        device=(draw(st.integers(0, 1 << 30)), draw(st.integers(0, 1 << 30))),
        mode=draw(st.integers(0, 1 << 30)),
        uid=draw(st.integers(0, 1 << 33)),
        mtime=draw(NUMBERS),
    )
    if draw(st.booleans()):
        keys = st.sampled_from(
            [
                b"path",
                b"linkpath",
                b"size",
                b"uid",
                b"mtime",
                b"SCHILY.xattr.user.a",
                b"GNU.sparse.map",
                b"GNU.sparse.size",
                b"GNU.sparse.major",
            ]
        )
        values = st.one_of(NAMES, st.integers(-5, 5).map(b"%d".__mod__), st.binary())
        raw = tars.pax(draw(st.dictionaries(keys, values, max_size=4)), raw)
    return raw


@given(st.lists(hostile_entries(), max_size=12), st.binary(max_size=40))
def test_hostile_layers_are_read_or_refused(
    entries: list[bytes], rubbish: bytes
) -> None:
    try:
        read = layer_of(b"".join(entries) + rubbish)
    except PermanentError:
        return
    directories = {
        path for path in names(read) if stat.S_ISDIR(entry_at(read, path).mode)
    }
    assert directories | {b""} == set(read.tree.directories)
    assert read.implied <= directories | {b""}
    for directory, links in read.links.items():
        assert not links.keys() & read.tree.directories[directory].keys()
