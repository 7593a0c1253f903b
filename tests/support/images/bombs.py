"""Layers of a few kilobytes that are made to cost their reader much more.

Each is a function that returns the blob; ``BOMBS`` has them by name, with a word of the
reason why they are refused, or ``None`` where they are read like any other layer.
"""

import gzip
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice, product

import zstandard

from tests.support.images import tars, zstd_by_hand

EXBIBYTE = 1 << 60
_LETTERS = bytes(range(ord("A"), ord("A") + 40))

Blob = Callable[[], bytes]


def packed(entries: Iterable[bytes]) -> bytes:
    """Return the gzip of a tar, made entry by entry."""
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0) as writer:
        for entry in entries:
            writer.write(entry)
        writer.write(bytes(1024))
    return file.getvalue()


def hole_behind_a_negative_size() -> bytes:
    refill = tars.old_gnu_sparse(b"refill", -EXBIBYTE, [], size=0)
    return packed([refill, tars.pax_sparse(b"hole", EXBIBYTE, [], "1.0")])


def hole() -> bytes:
    return packed([tars.pax_sparse(b"hole", EXBIBYTE, [], "1.0")])


def empty_extents(name: bytes, count: int, version: str = "1.0") -> bytes:
    return tars.pax_sparse(name, 1, [(0, b"")] * count, version)


def maps_of_empty_extents() -> bytes:
    return packed(empty_extents(b"%d" % n, 250_000) for n in range(6))


def map_of_too_many_extents() -> bytes:
    return packed([empty_extents(b"a", 300_000)])


def old_maps_without_an_extent() -> bytes:
    header = tars.member(b"a", b"S", tail=(482, b"\1"), magic=tars.GNU)
    return packed([header, *([bytes(504) + b"\1" + bytes(7)] * 200_000)])


def attributes() -> bytes:
    return packed([_with_attributes(48_000)] * 100)


def attributes_of_many_members() -> bytes:
    return packed([_with_attributes(250)] * 4300)


def _with_attributes(count: int) -> bytes:
    names = [bytes(letters) for letters in islice(product(_LETTERS, repeat=3), count)]
    return tars.xattrs(dict.fromkeys(names, b""), tars.file(b"a"))


def long_targets() -> bytes:
    target = b"t" * 4095
    return packed(
        tars.pax({b"linkpath": target}, tars.symlink(b"%d" % n, b""))
        for n in range(50_000)
    )


def targets_that_are_just_allowed() -> bytes:
    return packed(
        tars.gnu_link(
            b"t" * 4080 + b"%d" % n, tars.symlink(b"%d/%d" % (n % 50, n), b"")
        )
        for n in range(24_000)
    )


def many_entries_of_one_directory() -> bytes:
    return packed(tars.file(b"d/%d" % n) for n in range(121_000))


def many_deletions_in_one_directory() -> bytes:
    return packed(tars.whiteout(b"d/%d" % n) for n in range(121_000))


def huge_records() -> bytes:
    record = tars.pax_record(b"comment", b"c" * 1_000_000)
    header = tars.member(b"x", b"x", record)
    return packed(header + tars.file(b"a") for _ in range(230))


def tiny_records() -> bytes:
    records = b"".join(b"11 %05x=b\n" % n for n in range(90_000))
    header = tars.member(b"x", b"x", records)
    return packed([header + tars.file(b"a")] * 4)


def long_names_of_gnu() -> bytes:
    name = b"a/../" * 200_000
    return packed(tars.gnu_name(name + b"%d" % n, tars.file(b"x")) for n in range(10))


def deep_directories() -> bytes:
    path = b"d/" * 2000
    return packed(
        tars.gnu_name(b"%d/" % n + path + b"f", tars.file(b"x")) for n in range(300)
    )


def symlinks(
    count: int, members: int, target: bytes = b"d/../" * 800
) -> Iterator[bytes]:
    """Yield a chain of symlinks, and members that all go through the whole of it."""
    yield tars.directory(b"d")
    for n in range(count):
        to = b"L%d" % (n + 1) if n + 1 < count else b"d"
        yield tars.gnu_link(target + to, tars.symlink(b"L%d" % n, b""))
    for n in range(members):
        yield tars.file(b"L0/%d" % n)


def chain_of_symlinks() -> bytes:
    return packed(symlinks(40, 15_000))


def symlinks_that_change() -> bytes:
    """The last of the chain leads elsewhere before each member that goes through it."""

    def entries() -> Iterator[bytes]:
        yield from symlinks(40, 0)
        for n in range(15_000):
            yield tars.symlink(b"L39", b"d%d" % (n % 2))
            yield tars.file(b"L0/%d" % n)

    return packed(entries())


def loops_of_symlinks() -> bytes:
    target = b"d/../" * 800 + b"a"
    loop = tars.gnu_link(target, tars.symlink(b"a", b""))
    return packed([loop, *(tars.whiteout(b"a/%d" % n) for n in range(15_000))])


def deep_whiteouts() -> bytes:
    path = b"d/" * 1500
    return packed(
        tars.gnu_name(b"%d/%s.wh.x" % (n, path), tars.file(b"x")) for n in range(15_000)
    )


def whiteouts() -> bytes:
    return packed(tars.whiteout(b"%d" % n) for n in range(60_000))


def links_below() -> bytes:
    return packed(tars.hard_link(b"%d" % n, b"below") for n in range(60_000))


def links_to_a_large_file() -> bytes:
    return packed(
        [
            tars.pax_sparse(b"large", 1 << 30, [], "1.0"),
            *(tars.hard_link(b"%d" % n, b"large") for n in range(100_000)),
        ]
    )


def empty_gzip_members() -> bytes:
    return packed([tars.file(b"a")]) + gzip.compress(b"", mtime=0) * 200_000


def bytes_of_a_gzip_name() -> bytes:
    blob = gzip.compress(tars.tar(tars.file(b"a")), mtime=0)
    return blob[:3] + b"\x08" + blob[4:10] + b"n" * 20_000_000 + b"\0" + blob[10:]


def empty_zstd_frames() -> bytes:
    frame = zstandard.compress(b"")
    return zstandard.compress(tars.tar(tars.file(b"a"))) + frame * 200_000


def zstd_of_large_windows() -> bytes:
    """Return frames that each have their window filled, the last too large."""
    data = tars.tar(tars.file(b"zeros", bytes(200 << 20)))
    middle = len(data) - 1024
    frames = (
        zstd_by_hand.frame(data[:middle], 27),
        zstd_by_hand.frame(data[middle:], 28),
    )
    return b"".join(frames)


BOMBS: Mapping[str, tuple[Blob, str | None]] = {
    "a hole of 1 EiB": (hole, "larger than"),
    "a hole of 1 EiB behind a negative size": (hole_behind_a_negative_size, "bytes"),
    "sparse maps of 250 000 empty extents": (maps_of_empty_extents, "extents"),
    "a sparse map of 300 000 empty extents": (map_of_too_many_extents, "extents"),
    "old sparse maps that never end": (old_maps_without_an_extent, "extents"),
    "48 000 attributes": (attributes, "attributes"),
    "250 attributes of each of many": (attributes_of_many_members, "attributes"),
    "long targets": (long_targets, "names and attributes take"),
    "targets that are just allowed": (targets_that_are_just_allowed, None),
    "many entries of one directory": (
        many_entries_of_one_directory,
        "entries in the directory",
    ),
    "many deletions in one directory": (
        many_deletions_in_one_directory,
        "entries in the directory",
    ),
    "huge PAX records": (huge_records, "PAX records and long names"),
    "tiny PAX records": (tiny_records, None),
    "long names of GNU": (long_names_of_gnu, None),
    "deep directories": (deep_directories, "names and attributes take"),
    "a chain of symlinks": (chain_of_symlinks, None),
    "symlinks that change": (symlinks_that_change, "steps to follow"),
    "a loop of symlinks": (loops_of_symlinks, "loop of symlinks"),
    "deep whiteouts": (deep_whiteouts, "steps to follow"),
    "many whiteouts": (whiteouts, None),
    "many links below": (links_below, "which is not a file"),
    "links to a large file": (links_to_a_large_file, "names and attributes take"),
    "empty gzip members": (empty_gzip_members, None),
    "a gzip header of 20 MB": (bytes_of_a_gzip_name, "gzip: the layer is corrupt"),
    "zstd frames of large windows": (zstd_of_large_windows, "window of 268435456"),
    "empty zstd frames": (empty_zstd_frames, None),
}
