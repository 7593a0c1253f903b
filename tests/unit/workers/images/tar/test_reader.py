"""Every dialect of tar that layers come in."""

import pytest

from tests.support.images import tars
from tests.support.images.block_stream import BlockStream
from tests.support.images.tar_members import read, read_one
from workers.images.tar.exact_reader import CutShort
from workers.images.tar.fields import DamagedTar
from workers.images.tar.reader import DIRECTORY, REGULAR, Member, TarReader

SIZE = 9 << 30  # more than eleven octal digits can say

MEBIBYTE = 1 << 20


def test_a_plain_entry_gives_all_that_its_header_says() -> None:
    entry = tars.file(b"a/b", b"data", mode=0o4755, uid=7, gid=8, mtime=9)
    member, content = read_one(entry)
    assert content == b"data"
    assert member == Member(
        b"a/b", REGULAR, 0o4755, 7, 8, 4, 9, 0, b"", (0, 0), (), None
    )


def test_content_that_nobody_reads_is_skipped() -> None:
    data = tars.tar(tars.file(b"a", b"1" * 3000), tars.file(b"b", b"2"))
    assert [member.name for member in TarReader(BlockStream(data))] == [b"a", b"b"]


def test_a_tar_without_its_two_empty_blocks_is_whole() -> None:
    [(member, _)] = read(tars.file(b"a", b"x" * 512))
    assert member.name == b"a"


@pytest.mark.parametrize("missing", [1, 100, 507])
def test_a_last_member_without_its_padding_is_whole(missing: int) -> None:
    data = tars.file(b"a", b"x" * 512) + tars.file(b"b", b"12345")
    [_, (member, content)] = read(data[:-missing])
    assert (member.name, content) == (b"b", b"12345")
    reader = TarReader(BlockStream(data[:-missing]))
    assert [member.name for member in reader] == [b"a", b"b"]


def test_a_last_member_without_all_of_its_content_is_not_whole() -> None:
    data = tars.file(b"b", b"12345")[:-508]
    with pytest.raises(CutShort):
        read(data)
    with pytest.raises(CutShort):
        list(TarReader(BlockStream(data)))


def test_a_tar_may_end_with_one_empty_block() -> None:
    [(member, _)] = read(tars.file(b"a") + bytes(512))
    assert member.name == b"a"


def test_a_member_behind_a_single_empty_block_is_not_lost_in_silence() -> None:
    data = tars.file(b"a") + bytes(512) + tars.tar(tars.file(b"b"))
    with pytest.raises(DamagedTar, match="behind a single block of zeros"):
        read(data)


def test_what_stands_behind_two_empty_blocks_is_no_member() -> None:
    [(member, _)] = read(tars.tar(tars.file(b"a")) + tars.tar(tars.file(b"b")))
    assert member.name == b"a"


def test_a_stream_of_no_bytes_has_no_members() -> None:
    assert read(b"") == []


def test_the_stream_is_read_to_its_end_behind_the_last_member() -> None:
    stream = BlockStream(tars.tar(tars.file(b"a")) + b"rubbish" * MEBIBYTE)
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
    assert read_one(entry)[0].kind == DIRECTORY
    entry = tars.member(b"f", b"\0", b"old", magic=tars.OLD)
    assert read_one(entry)[0].kind == REGULAR


def test_contiguous_files_are_files() -> None:
    member, content = read_one(tars.member(b"c", b"7", b"data"))
    assert (member.kind, content) == (REGULAR, b"data")


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


def test_the_size_of_an_entry_is_not_negative() -> None:
    with pytest.raises(DamagedTar, match=f"{1 << 63} bytes"):
        read_one(tars.file(b"a", size=1 << 63))
    with pytest.raises(DamagedTar, match="-512 bytes"):
        read_one(tars.file(b"a", size=-512))
    with pytest.raises(DamagedTar, match="-1 bytes"):
        read_one(tars.member(b"a", b"L", size=-1))


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


def test_a_header_of_more_than_a_mebibyte_is_refused() -> None:
    with pytest.raises(DamagedTar, match="extended header"):
        read_one(tars.member(b"x", b"x", size=MEBIBYTE + 1))
    half = tars.pax({b"comment": b"c" * (MEBIBYTE // 2)})
    assert len(read(tars.tar(half, tars.file(b"a"), half, tars.file(b"b")))) == 2
    with pytest.raises(DamagedTar, match="in front of an entry 1048576 are read"):
        read(tars.tar(half, half, tars.file(b"a")))


def test_headers_are_paid_for_before_they_are_read() -> None:
    class EnoughError(Exception):
        pass

    spent = []

    def spend(size: int) -> None:
        spent.append(size)
        if len(spent) > 2:
            raise EnoughError

    entries = [
        tars.pax({b"comment": b"c"}, tars.file(b"a")),
        tars.gnu_name(b"n" * 1000, tars.file(b"b")),
        tars.member(b"x", b"g", size=1000),  # and nothing follows
    ]
    with pytest.raises(EnoughError):
        list(TarReader(BlockStream(b"".join(entries)), spend))
    assert spent[1] - spent[0] == 1001 - len(tars.pax_record(b"comment", b"c"))


def test_an_entry_has_no_more_attributes_than_anybody_can_list() -> None:
    values = {b"user.%d" % n: b"" for n in range(4097)}
    with pytest.raises(DamagedTar, match="4097 attributes"):
        read_one(tars.xattrs(values, tars.file(b"a")))
    del values[b"user.0"]
    member, _ = read_one(tars.xattrs(values, tars.file(b"a")))
    assert len(member.xattrs) == 4096


@pytest.mark.parametrize("size", [b"-1", b"-512", b"9223372036854775808", b"9" * 20])
def test_the_size_in_a_record_is_neither_negative_nor_larger_than_any(
    size: bytes,
) -> None:
    with pytest.raises(DamagedTar):
        read_one(tars.pax({b"size": size}, tars.file(b"a")))


def test_owners_in_records_may_be_negative() -> None:
    member, _ = read_one(tars.pax({b"uid": b"-2", b"gid": b"+7"}, tars.file(b"a")))
    assert (member.uid, member.gid) == (-2, 7)


@pytest.mark.parametrize(
    "entry",
    [
        tars.file(b"large", size=SIZE, magic=tars.GNU),
        tars.pax({b"size": b"%d" % SIZE}, tars.file(b"large")),
    ],
    ids=["GNU", "PAX"],
)
def test_a_tar_may_have_a_file_of_more_than_8_gib(entry: bytes) -> None:
    assert next(iter(TarReader(BlockStream(entry)))).size == SIZE
