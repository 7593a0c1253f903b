"""Every dialect of tar that layers come in, and what is no tar at all."""

import contextlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import tars
from tests.support.blocks import Blocks
from workers.errors import PermanentError
from workers.images import tar
from workers.images.tar import Member, TarReader
from workers.images.tar_fields import DamagedTar, parse_records, parse_time

MEBIBYTE = 1 << 20


def read(data: bytes, block: int = MEBIBYTE) -> list[tuple[Member, bytes]]:
    """Return the members of a tar with their contents."""
    reader = TarReader(Blocks(data, block))
    return [
        (member, reader.read_content(member) if member.kind == tar.REGULAR else b"")
        for member in reader
    ]


def read_one(entry: bytes) -> tuple[Member, bytes]:
    [result] = read(tars.tar(entry))
    return result


def test_a_plain_entry_gives_all_that_its_header_says() -> None:
    entry = tars.file(b"a/b", b"data", mode=0o4755, uid=7, gid=8, mtime=9)
    member, content = read_one(entry)
    assert content == b"data"
    assert member == Member(
        b"a/b", tar.REGULAR, 0o4755, 7, 8, 4, 9, 0, b"", (0, 0), (), None
    )


@pytest.mark.parametrize("block", [1, 7, 511, 512, 513, 4096])
def test_it_does_not_matter_in_what_blocks_the_stream_comes(block: int) -> None:
    data = tars.tar(
        tars.gnu_name(b"n" * 300, tars.file(b"x", b"1" * 1000)),
        tars.pax({b"mtime": b"1.5"}, tars.file(b"y", b"2" * 512)),
        tars.directory(b"d/"),
        tars.old_gnu_sparse(b"z", 9000, [(4096, b"3" * 100)]),
    )
    assert read(data, block) == read(data)


def test_content_that_nobody_reads_is_skipped() -> None:
    data = tars.tar(tars.file(b"a", b"1" * 3000), tars.file(b"b", b"2"))
    assert [member.name for member in TarReader(Blocks(data))] == [b"a", b"b"]


def test_content_that_is_read_in_part_is_skipped_to_its_end() -> None:
    data = tars.tar(tars.file(b"a", b"1" * 3000), tars.file(b"b", b"2"))
    reader = TarReader(Blocks(data))
    names = []
    for member in reader:
        names.append(member.name)
        for _ in reader.pieces(member, 100):
            break
    assert names == [b"a", b"b"]


def test_pieces_have_the_length_asked_for_but_the_last() -> None:
    reader = TarReader(Blocks(tars.tar(tars.file(b"a", b"12345678"))))
    [pieces] = [list(reader.pieces(member, 3)) for member in reader]
    assert pieces == [b"123", b"456", b"78"]


def test_a_tar_without_its_two_empty_blocks_is_whole() -> None:
    [(member, _)] = read(tars.file(b"a", b"x" * 512))
    assert member.name == b"a"


def test_a_stream_of_no_bytes_has_no_members() -> None:
    assert read(b"") == []


def test_the_stream_is_read_to_its_end_behind_the_last_member() -> None:
    stream = Blocks(tars.tar(tars.file(b"a")) + b"rubbish" * MEBIBYTE)
    assert len(list(TarReader(stream))) == 1
    assert stream.read(1) == b""


# Names.


def test_ustar_puts_the_prefix_of_a_long_name_in_front() -> None:
    member, _ = read_one(tars.file(b"name", prefix=b"p" * 155))
    assert member.name == b"p" * 155 + b"/name"


def test_a_name_of_exactly_100_bytes_has_no_end_mark() -> None:
    member, _ = read_one(tars.file(b"n" * 100))
    assert member.name == b"n" * 100


def test_what_gnu_keeps_where_the_prefix_would_be_is_no_prefix() -> None:
    member, _ = read_one(tars.file(b"name", magic=tars.GNU, prefix=b"15000000000"))
    assert member.name == b"name"


def test_gnu_long_names_and_targets_count_for_the_next_entry_only() -> None:
    name, target = b"n" * 5000, b"t" * 3000
    entry = tars.symlink(b"cut", b"cut")
    entries = tars.gnu_link(target, tars.gnu_name(name, entry))
    [(first, _), (second, _)] = read(tars.tar(entries, tars.file(b"plain")))
    assert (first.name, first.link) == (name, target)
    assert (second.name, second.link) == (b"plain", b"")


def test_names_need_not_be_text() -> None:
    member, _ = read_one(tars.pax({b"path": b"\xff\xfe\n\x01"}, tars.file(b"x")))
    assert member.name == b"\xff\xfe\n\x01"


def test_slashes_at_the_end_of_a_name_are_not_part_of_it() -> None:
    assert read_one(tars.directory(b"a/b//"))[0].name == b"a/b"
    assert read_one(tars.directory(b"//"))[0].name == b"/"


# Types.


def test_before_posix_a_slash_made_a_directory() -> None:
    entry = tars.member(b"d/", b"\0", magic=tars.OLD)
    assert read_one(entry)[0].kind == tar.DIRECTORY
    entry = tars.member(b"f", b"\0", b"old", magic=tars.OLD)
    assert read_one(entry)[0].kind == tar.REGULAR


def test_contiguous_files_are_files() -> None:
    member, content = read_one(tars.member(b"c", b"7", b"data"))
    assert (member.kind, content) == (tar.REGULAR, b"data")


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"5", b"6"])
def test_a_size_where_no_data_can_be_means_nothing(kind: bytes) -> None:
    entry = tars.member(b"x", kind, link=b"y", size=12345)
    [(member, _), (after, _)] = read(tars.tar(entry, tars.file(b"after")))
    assert (member.size, after.name) == (0, b"after")


def test_devices_have_their_numbers() -> None:
    assert read_one(tars.character_device(b"n", 511, 70000))[0].device == (511, 70000)
    assert read_one(tars.block_device(b"n", 8, 1))[0].device == (8, 1)


def test_data_of_an_unknown_type_is_skipped_and_the_type_is_told() -> None:
    entry = tars.member(b"v", b"V", b"x" * 600)
    [(member, _), (after, _)] = read(tars.tar(entry, tars.file(b"after")))
    assert (member.kind, member.size, after.name) == (b"V", 0, b"after")


# Numbers and times.


@pytest.mark.parametrize("mtime", [-1, -(1 << 40), 8**11, 1 << 62])
def test_times_out_of_the_reach_of_octal_are_base_256(mtime: int) -> None:
    assert read_one(tars.file(b"a", mtime=mtime))[0].mtime == mtime


def test_owners_out_of_the_reach_of_octal_are_base_256() -> None:
    member, _ = read_one(tars.file(b"a", uid=4_000_000_000, gid=1 << 40))
    assert (member.uid, member.gid) == (4_000_000_000, 1 << 40)


def test_mode_bits_that_are_no_permissions_are_dropped() -> None:
    assert read_one(tars.file(b"a", mode=0o107755))[0].mode == 0o7755


@pytest.mark.parametrize(
    "field", [b"   644 \0", b"000644\0 ", b"0000644\0", b"\0   644\0", b"644\0rub\0"]
)
def test_octal_numbers_are_padded_in_many_ways(field: bytes) -> None:
    header = bytearray(tars.file(b"a"))
    header[100:108] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    assert read_one(bytes(header))[0].mode == 0o644


@pytest.mark.parametrize("field", [b"-0000644", b"0_000644", b"0o000644", b"00000888"])
def test_what_only_python_takes_for_octal_is_refused(field: bytes) -> None:
    header = bytearray(tars.file(b"a"))
    header[108:116] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    with pytest.raises(DamagedTar, match="is not a number"):
        read_one(bytes(header))


def test_the_size_of_an_entry_is_not_negative() -> None:
    with pytest.raises(DamagedTar, match="-512 bytes"):
        read_one(tars.file(b"a", size=-512))
    with pytest.raises(DamagedTar, match="-1 bytes"):
        read_one(tars.member(b"a", b"L", size=-1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"0", (0, 0)),
        (b"1.5", (1, 500_000_000)),
        (b"1.", (1, 0)),
        (b"1.123456789987", (1, 123_456_789)),
        (b"-1", (-1, 0)),
        (b"-1.25", (-2, 750_000_000)),
        (b"-0.000000001", (-1, 999_999_999)),
        (b"18446744073709551615.0", (18446744073709551615, 0)),
    ],
)
def test_times_have_nanoseconds_and_may_lie_before_1970(
    text: bytes, expected: tuple[int, int]
) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize("text", [b"", b"-", b".5", b"1.x", b"1.-5", b"1e3", b"9" * 21])
def test_what_is_no_time_is_refused(text: bytes) -> None:
    with pytest.raises(DamagedTar):
        parse_time(text)


# PAX.


def test_records_override_the_header() -> None:
    records = {
        b"path": b"long/" + b"p" * 200,
        b"linkpath": b"l" * 200,
        b"uid": b"5000000000",
        b"gid": b"6000000000",
        b"mtime": b"-1.5",
        b"SCHILY.xattr.user.b": b"\0=\n",
        b"SCHILY.xattr.user.a": b"",
        b"comment": b"ignored",
    }
    member, _ = read_one(tars.pax(records, tars.symlink(b"x", b"y")))
    assert member.name == b"long/" + b"p" * 200
    assert member.link == b"l" * 200
    assert (member.uid, member.gid) == (5_000_000_000, 6_000_000_000)
    assert (member.mtime, member.mtime_ns) == (-2, 500_000_000)
    assert member.xattrs == ((b"user.a", b""), (b"user.b", b"\0=\n"))


def test_records_count_for_the_next_entry_only() -> None:
    first = tars.pax({b"mtime": b"5"}, tars.file(b"a"))
    [_, (second, _)] = read(tars.tar(first, tars.file(b"b")))
    assert second.mtime == 0


def test_a_record_without_a_value_leaves_the_header_as_it_is() -> None:
    records = {b"path": b"", b"size": b"", b"mtime": b"", b"uid": b""}
    member, content = read_one(tars.pax(records, tars.file(b"a", b"1", mtime=7, uid=8)))
    assert (member.name, member.mtime, member.uid, content) == (b"a", 7, 8, b"1")


def test_the_size_of_a_file_may_be_in_a_record() -> None:
    entry = tars.pax({b"size": b"600"}, tars.file(b"a", b"x" * 600, size=0))
    [(member, content), (after, _)] = read(tars.tar(entry, tars.file(b"after")))
    assert (member.size, content, after.name) == (600, b"x" * 600, b"after")


def test_the_path_of_a_record_counts_before_that_of_gnu() -> None:
    entry = tars.gnu_name(b"gnu", tars.pax({b"path": b"pax"}, tars.file(b"x")))
    assert read_one(entry)[0].name == b"pax"


def test_global_records_are_passed_over() -> None:
    data = tars.tar(
        tars.pax({b"comment": b"a commit", b"mtime": b"99"}, kind=b"g"), tars.file(b"a")
    )
    [(member, _)] = read(data)
    assert member.mtime == 0


@pytest.mark.parametrize(
    "records",
    [
        b"x",
        b"5 a=b\n",
        b"7 a=b\n",
        b"6 a=bb",
        b"6 a:b\n",
        b"-6 a=b\n",
        b" 6 a=b\n",
        b"99999999999999999999999 a=b\n",
        b"99999999999999999999 a=b\n",
        b"2 a=b\n",
        b"0 a=b\n",
        b"6 a=b\n" + b"\0\0x",
    ],
)
def test_records_that_are_cut_short_are_refused(records: bytes) -> None:
    with pytest.raises(DamagedTar):
        read_one(tars.member(b"x", b"x", records) + tars.file(b"a"))


def test_padding_behind_the_last_record_is_let_through() -> None:
    assert parse_records(b"6 a=b\n\0\0\0") == {b"a": b"b"}


@given(st.dictionaries(st.binary(min_size=1), st.binary()))
def test_records_read_back_as_they_were_written(values: dict[bytes, bytes]) -> None:
    wanted = {
        key: value
        for key, value in values.items()
        if b"=" not in key and not key.startswith(b"GNU.sparse.")
    }
    assert parse_records(tars.pax_records(wanted)) == wanted


def test_a_header_of_more_than_a_mebibyte_is_refused() -> None:
    with pytest.raises(DamagedTar, match="extended header"):
        read_one(tars.member(b"x", b"x", size=MEBIBYTE + 1))


# Sparse files.

Sparse = Callable[[bytes, int, tars.Extents], bytes]


@dataclass(frozen=True, slots=True)
class PaxSparse:
    version: str

    def __call__(self, name: bytes, size: int, extents: tars.Extents) -> bytes:
        return tars.pax_sparse(name, size, extents, self.version)


SPARSE = pytest.mark.parametrize(
    "sparse",
    [tars.old_gnu_sparse, PaxSparse("0.0"), PaxSparse("0.1"), PaxSparse("1.0")],
    ids=["old GNU", "PAX 0.0", "PAX 0.1", "PAX 1.0"],
)


def expanded(size: int, extents: tars.Extents) -> bytes:
    content = bytearray(size)
    for offset, data in extents:
        content[offset : offset + len(data)] = data
    return bytes(content)


@SPARSE
@pytest.mark.parametrize("extent_count", [0, 1, 4, 5, 25, 26, 100])
def test_holes_of_sparse_files_are_filled(sparse: Sparse, extent_count: int) -> None:
    extents = [(1000 * n + 17, b"%d" % n * 30) for n in range(extent_count)]
    size = 1000 * extent_count + 5000
    entry = sparse(b"dir/sparse", size, extents)
    [(member, content), (after, _)] = read(tars.tar(entry, tars.file(b"after")))
    assert (member.name, member.kind) == (b"dir/sparse", tar.REGULAR)
    assert member.size == size
    assert content == expanded(size, extents)
    assert after.name == b"after"


@SPARSE
def test_sparse_files_come_in_pieces_too(sparse: Sparse) -> None:
    extents = [(100, b"x" * 950), (3 * MEBIBYTE, b"y" * (2 * MEBIBYTE))]
    data = tars.tar(sparse(b"s", 6 * MEBIBYTE, extents))
    reader = TarReader(Blocks(data))
    [pieces] = [list(reader.pieces(member, 1_000_000)) for member in reader]
    assert {len(piece) for piece in pieces[:-1]} == {1_000_000}
    assert b"".join(pieces) == expanded(6 * MEBIBYTE, extents)


@SPARSE
@pytest.mark.parametrize(
    "extents",
    [
        [(0, b"12345"), (4, b"6")],
        [(10, b"1"), (0, b"2")],
        [(99, b"12")],
        [(1 << 40, b"1")],
    ],
    ids=["overlapping", "unordered", "across the end", "behind the end"],
)
def test_extents_that_cannot_be_are_refused(
    sparse: Sparse, extents: tars.Extents
) -> None:
    with pytest.raises(DamagedTar, match="do not fit"):
        read_one(sparse(b"s", 100, extents))


def test_extents_that_differ_from_the_data_are_refused() -> None:
    entry = tars.old_gnu_sparse(b"s", 100, [(0, b"12345")], size=4)
    with pytest.raises(DamagedTar, match="do not fit its data"):
        read_one(entry)


@pytest.mark.parametrize(
    "records",
    [
        {b"GNU.sparse.map": b"1"},
        {b"GNU.sparse.map": b"1,2,3", b"GNU.sparse.size": b"9"},
        {b"GNU.sparse.map": b"0,x", b"GNU.sparse.size": b"9"},
        {b"GNU.sparse.map": b"0,1"},
        {b"GNU.sparse.major": b"1"},
        {b"GNU.sparse.major": b"1", b"GNU.sparse.realsize": b"-1"},
    ],
)
def test_maps_that_are_no_maps_are_refused(records: dict[bytes, bytes]) -> None:
    with pytest.raises(DamagedTar):
        read_one(tars.pax(records, tars.file(b"s", b"1")))


@pytest.mark.parametrize(
    "plan", [b"", b"\n", b"x\n", b"5\n1\n", b"99999999999999999999\n", b"1\n" * 256]
)
def test_maps_in_front_of_the_data_that_have_no_end_are_refused(plan: bytes) -> None:
    records = {b"GNU.sparse.major": b"1", b"GNU.sparse.realsize": b"10"}
    with pytest.raises(DamagedTar):
        read_one(tars.pax(records, tars.file(b"s", tars.padded(plan))))


def test_sparse_names_of_gnu_count_before_all_others() -> None:
    entry = tars.pax_sparse(b"real", 10, [(0, b"1")], "1.0")
    assert read_one(entry)[0].name == b"real"


def test_sparse_records_mean_nothing_but_for_files() -> None:
    records = {b"GNU.sparse.map": b"0,1", b"GNU.sparse.size": b"9"}
    member, _ = read_one(tars.pax(records, tars.directory(b"d/")))
    assert (member.kind, member.extents) == (tar.DIRECTORY, None)


# Damage.


@pytest.mark.parametrize("length", [1, 511, 513, 1023, 1500])
def test_a_tar_that_is_cut_short_is_refused(length: int) -> None:
    data = tars.file(b"a", b"x" * 1000)
    with pytest.raises(PermanentError, match="ends in the middle"):
        read(data[:length])


@pytest.mark.parametrize("at", [0, 99, 107, 156, 300, 511])
def test_a_header_with_a_wrong_bit_is_refused(at: int) -> None:
    data = bytearray(tars.tar(tars.file(b"a")))
    data[at] ^= 1
    with pytest.raises(DamagedTar, match="checksum"):
        read(bytes(data))


def test_the_signed_checksum_of_old_suns_is_let_through() -> None:
    name = b"\xff" * 20
    unsigned = sum(tars.file(name, checksum=0)[:512])
    zeros = sum(b"%06o\0 " % 0)
    signed = unsigned - zeros + 8 * 0x20 - 256 * len(name)
    assert read_one(tars.file(name, checksum=signed))[0].name == name


@given(st.binary(max_size=3000))
def test_any_bytes_are_a_tar_or_refused(data: bytes) -> None:
    with contextlib.suppress(PermanentError):
        read(data)


@given(st.data())
def test_a_tar_damaged_anywhere_is_read_or_refused(draw: st.DataObject) -> None:
    data = bytearray(
        tars.tar(
            tars.pax({b"mtime": b"1.5", b"size": b"3"}, tars.file(b"a", b"abc")),
            tars.gnu_name(b"n" * 120, tars.symlink(b"s", b"t")),
            tars.old_gnu_sparse(b"o", 900, [(n * 100, b"x") for n in range(6)]),
            tars.pax_sparse(b"p", 900, [(100, b"x")], "1.0"),
            tars.pax_sparse(b"q", 900, [(100, b"x")], "0.1"),
        )
    )
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(data) - 1))
        data[at] = draw.draw(st.integers(0, 255))
        header = at - at % 512
        if draw.draw(st.booleans()):  # make the checksum right again
            block = data[header : header + 512]
            block[148:156] = b" " * 8
            data[header + 148 : header + 156] = b"%06o\0 " % sum(block)
    with contextlib.suppress(PermanentError):
        read(bytes(data))


# An independent writer.

NAMES = st.text(
    st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1
)


@st.composite
def python_members(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo("/".join(draw(st.lists(NAMES, min_size=1, max_size=9))))
    info.type = draw(
        st.sampled_from(
            [
                tarfile.REGTYPE,
                tarfile.DIRTYPE,
                tarfile.SYMTYPE,
                tarfile.LNKTYPE,
                tarfile.CHRTYPE,
                tarfile.BLKTYPE,
                tarfile.FIFOTYPE,
            ]
        )
    )
    info.mode = draw(st.integers(0, 0o7777))
    info.uid, info.gid = draw(st.integers(0, 1 << 33)), draw(st.integers(0, 1 << 33))
    info.mtime = draw(st.integers(-(1 << 40), 1 << 40))
    content = b""
    if info.isreg():
        content = draw(st.binary(max_size=1500))
        info.size = len(content)
    elif info.issym() or info.islnk():
        info.linkname = draw(
            st.text(st.characters(exclude_characters="\0"), max_size=9)
        )
        info.linkname = info.linkname.encode(errors="replace").decode()
    elif info.isdev() and not info.isfifo():
        info.devmajor, info.devminor = draw(st.integers(0, 511)), draw(st.integers(0))
        info.devminor %= 1 << 20
    return info, content


@pytest.mark.parametrize("dialect", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@given(members=st.lists(python_members(), max_size=5))
def test_what_pythons_tarfile_writes_is_read_back(
    dialect: int, members: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=dialect) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    found = read(file.getvalue())
    assert len(found) == len(members)
    for (member, content), (info, expected) in zip(found, members, strict=True):
        assert member.name == info.name.encode()
        assert member.kind == info.type
        assert (member.mode, member.uid, member.gid) == (info.mode, info.uid, info.gid)
        assert (member.mtime, member.mtime_ns) == (info.mtime, 0)
        assert member.link == info.linkname.encode()
        assert content == expected
        if info.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            assert member.device == (info.devmajor, info.devminor)


@given(name=NAMES, content=st.binary(max_size=1500))
def test_what_pythons_tarfile_writes_as_ustar_is_read_back(
    name: str, content: bytes
) -> None:
    file = io.BytesIO()
    info = tarfile.TarInfo(name)
    info.size = len(content)
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        try:
            archive.addfile(info, io.BytesIO(content))
        except ValueError:
            return  # ustar has no room for such a name
    [(member, found)] = read(file.getvalue())
    assert (member.name, found) == (name.encode(), content)
