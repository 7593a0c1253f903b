"""What no layer may hold, and that nothing else comes of it."""

import stat
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images import tars
from tests.support.images.layer_trees import found, layer, layer_of, names
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


@pytest.mark.parametrize("kind", [b"V", b"M", b"D", b"N", b"A", b"\xff"])
def test_unknown_types_are_refused(kind: bytes) -> None:
    refused("the unknown type", tars.member(b"x", kind))


@pytest.mark.parametrize("number", [0xFFFF_FFFF, 1 << 32, 1 << 60, -1])
def test_owners_that_linux_does_not_have_are_refused(number: int) -> None:
    refused("the owner", tars.file(b"x", uid=number))
    refused("the owner", tars.file(b"x", gid=number))


def test_times_beyond_64_bits_are_refused() -> None:
    refused("the time", tars.pax({b"mtime": b"9223372036854775808"}, tars.file(b"x")))
    refused(
        "the time", tars.pax({b"mtime": b"-9223372036854775808.5"}, tars.file(b"x"))
    )
    refused("the time", tars.file(b"x", mtime=1 << 80))


@pytest.mark.parametrize("number", [(4096, 0), (0, 1 << 20), (1 << 50, 0), (-1, 0)])
def test_device_numbers_that_linux_does_not_have_are_refused(
    number: tuple[int, int],
) -> None:
    refused("the device number", tars.character_device(b"x", *number))


@pytest.mark.parametrize("target", [b"", b"t" * 4096, b"a\0b"])
def test_symlinks_that_lead_nowhere_at_all_are_refused(target: bytes) -> None:
    entry = tars.symlink(b"x", b"")
    refused("the target", tars.pax({b"linkpath": target}, entry))


@pytest.mark.parametrize(
    ("name", "size"),
    [(b"", 1), (b"user." + b"n" * 251, 1), (b"a\0b", 1), (b"n", 65537)],
)
def test_xattrs_that_linux_does_not_have_are_refused(name: bytes, size: int) -> None:
    refused("attribute", tars.xattrs({name: b"v" * size}, tars.file(b"x")))


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


def test_messages_show_names_on_one_line_and_cut_them() -> None:
    with pytest.raises(ImageRejected) as caught:
        layer(tars.gnu_name(b"../\n\x1b[31m\xff" + b"n" * 9000, tars.file(b"x")))
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 300


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
    directories = {path for path in names(read) if stat.S_ISDIR(found(read, path).mode)}
    assert directories | {b""} == set(read.tree.directories)
    assert read.implied <= directories | {b""}
    for directory, links in read.links.items():
        assert not links.keys() & read.tree.directories[directory].keys()
