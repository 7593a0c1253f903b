"""What no layer may hold, and that nothing else comes of it."""

import posixpath
import stat
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images import tars
from tests.support.images.layer_trees import entry_at, layer, layer_of, names
from workers.errors import PermanentError
from workers.images.layers.names import split_name
from workers.images.rejected import ImageRejected


def refused(match: str, *entries: bytes) -> None:
    with pytest.raises(ImageRejected, match=match):
        layer(*entries)


def long_name(name: bytes, how: str) -> bytes:
    """Return a file with a name in the manner of a dialect."""
    if how == "PAX":
        return tars.pax({b"path": name}, tars.file(b"cut"))
    return tars.gnu_name(name, tars.file(b"cut")) if how == "GNU" else tars.file(name)


@pytest.mark.parametrize("how", ["header", "PAX", "GNU"])
@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"/x", b"x"),
        (b"//x", b"x"),
        (b"///a//x", b"a/x"),
        (b"/./x", b"x"),
        (b"/../x", b"x"),
        (b"../x", b"x"),
        (b"../../x", b"x"),
        (b"./../x", b"x"),
        (b"a/../x", b"x"),
        (b"a/b/../x", b"a/x"),
        (b"a/../../../x/./y", b"x/y"),
        (b"x/y/..", b"x"),
        (b"/a/..//.//../x", b"x"),
        (b"..a/../...", b"..."),
    ],
)
def test_every_name_begins_at_the_root_and_is_cleaned(
    name: bytes, path: bytes, how: str
) -> None:
    assert split_name(name) == split_name(path)
    read = layer(long_name(name, how))
    directory, _, last = path.rpartition(b"/")
    assert set(read.tree.directories[directory]) == {last}
    if how == "header" and not name.endswith(b".."):
        assert layer(tars.whiteout(name)).whiteouts == {directory: {last}}
        assert layer(tars.opaque(name)).opaque == {path}


@given(
    st.lists(
        st.sampled_from([b"", b".", b"..", b"a", b"b", b".wh.c", b"...", b"n" * 200])
    )
)
def test_names_are_cleaned_as_posix_cleans_an_absolute_path(parts: list[bytes]) -> None:
    name = b"/".join(parts)
    clean = posixpath.normpath(b"/" + name).lstrip(b"/")
    assert split_name(name) == posixpath.split(clean)


@pytest.mark.parametrize("name", [b"..", b"a/..", b"a/../", b"/", b"/..", b"a/../../"])
def test_names_that_are_cleaned_to_nothing_are_the_root(name: bytes) -> None:
    read = layer(tars.directory(name, mode=0o700))
    assert names(read) == set()
    assert stat.S_IMODE(read.tree.root.mode) == 0o700
    refused("makes its root something else", tars.file(name))


@pytest.mark.parametrize(
    "target", [b"/a/x", b"//a/x", b"../a/x", b"/../a/x", b"b/../a/x", b"a/b/../x"]
)
def test_targets_of_hard_links_are_cleaned_as_names_are(target: bytes) -> None:
    for link in (
        tars.hard_link(b"h", target),
        tars.pax({b"linkpath": target}, tars.hard_link(b"h", b"cut")),
        tars.gnu_link(target, tars.hard_link(b"h", b"cut")),
    ):
        read = layer(tars.file(b"a/x", b"1"), link)
        assert entry_at(read, b"h") == entry_at(read, b"a/x")
        assert layer(link).links == {b"": {b"h": b"a/x"}}


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
    for name in (b"n" * 256, b"a/" + b"n" * 256 + b"/b"):
        entry = tars.gnu_name(name, tars.file(b"x"))
        refused("too long: 256 bytes between two slashes, where .* take 255", entry)
    entry = tars.gnu_name(path + b"/" + path, tars.file(b"x"))
    refused("path that is too long: 8039 bytes, where Linux takes 4095", entry)
    refused(
        "too long",
        tars.gnu_link(path + b"/" + path, tars.hard_link(b"h", b"")),
        tars.file(b"x"),
    )


def test_names_may_be_written_longer_than_they_are() -> None:
    for name in (b"a/../" * 9000 + b"x", b"/" * 9000 + b"x", b"./" * 9000 + b"x"):
        read = layer(
            tars.gnu_name(name, tars.file(b"cut")),
            tars.gnu_link(name, tars.hard_link(b"h", b"")),
        )
        assert names(read) == {b"x", b"h"}


@pytest.mark.parametrize("name", [b".wh.", b".wh..", b".wh...", b"a/.wh."])
def test_whiteouts_of_nothing_are_refused(name: bytes) -> None:
    refused("the whiteout", tars.file(name))


def test_something_below_the_name_of_a_whiteout_is_in_a_directory_of_that_name() -> (
    None
):
    """Only the last part of a name says that it is a whiteout."""
    read = layer(tars.directory(b"a/.wh.b"), tars.file(b"a/.wh.b/c"))
    assert read.whiteouts == {b"a": {b"b"}}
    assert names(read) == {b"a", b"a/.wh.b", b"a/.wh.b/c"}
    assert names(layer(tars.file(b".wh.b/c"))) == {b".wh.b", b".wh.b/c"}


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
