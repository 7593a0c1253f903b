"""What is no tar, and what an independent writer calls one."""

import contextlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images import tars
from tests.support.images.tar_members import read, read_one
from workers.errors import PermanentError
from workers.images.tar.fields import DamagedTar


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
