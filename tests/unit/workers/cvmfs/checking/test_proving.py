"""Objects are proven: those that are many, slow, broken, or not to be had."""

import threading
from contextlib import closing
from typing import BinaryIO

import pytest

from tests.support.damage.damage import FILE, Damage, found_as_promised, where_path
from tests.support.damage.editable_repository import (
    IMAGE,
    INNER,
    EditableRepository,
    FilesInMemory,
)
from tests.support.damage.objects_and_published import OBJECTS
from tests.support.repositories.repository_builders import FQRN, NOW, keys
from workers.cvmfs.checking import proving
from workers.cvmfs.checking.check import CheckProgress, check
from workers.cvmfs.errors import StorageFailed
from workers.cvmfs.objects.objects import pack
from workers.cvmfs.storage.storage import MANIFEST, REFLOG, WHITELIST
from workers.cvmfs.values.hash import ContentHash, Kind


@pytest.mark.parametrize("damage", OBJECTS, ids=lambda damage: damage.name)
def test_each_damage_to_an_object_is_found_and_nothing_else(damage: Damage) -> None:
    found_as_promised(damage)


def test_an_object_is_told_once_though_many_rows_name_it(
    bench: EditableRepository,
) -> None:
    name = ContentHash.of(pack(b"twin")).path(Kind.BULK)
    del bench.files[name]

    assert bench.told() == [f"/image/twin2: object {name} is missing"]


def test_what_an_object_is_not_is_told(bench: EditableRepository) -> None:
    name = ContentHash.of(pack(b"some bytes")).path(Kind.BULK)
    bench.edit_catalog(IMAGE, f"UPDATE catalog SET size = 11 {where_path(FILE)}")
    bench.count(IMAGE, file_size=1)

    assert bench.told(contents=True) == [
        f"/image/file: object {name} holds 10 bytes, its entry says 11"
    ]
    bench.files[name] = pack(b"other bytes")
    (text,) = bench.told(contents=True)
    assert text.startswith(f"/image/file: object {name} is damaged: its bytes")


def test_a_file_larger_than_a_block_is_read_to_its_end(
    bench: EditableRepository,
) -> None:
    data = bytes(3_000_000)
    digest = bench.put(data, Kind.BULK).digest.hex()
    bench.edit_catalog(
        IMAGE,
        f"UPDATE catalog SET size = 3000000, hash = x'{digest}' {where_path(FILE)}",
    )
    bench.count(IMAGE, file_size=3_000_000 - 10)

    assert bench.told(contents=True) == []


def test_an_object_of_unknown_compression_is_still_hashed(
    bench: EditableRepository,
) -> None:
    name = ContentHash.of(pack(b"some bytes")).path(Kind.BULK)
    bench.edit_catalog(
        IMAGE, f"UPDATE catalog SET flags = flags | 14336 {where_path(FILE)}"
    )
    bench.files[name] = b"other"

    first, second = bench.told(contents=True)

    assert first == f"{FILE}: flags 0x3804 say an unknown compression"
    assert second.startswith(f"{FILE}: object {name} is damaged")


class Refusing(FilesInMemory):
    """A storage of which one file cannot be read."""

    def __init__(self, files: dict[str, bytes], name: str) -> None:
        super().__init__(files)
        self._name = name

    def get(self, path: str) -> bytes:
        if path == self._name:
            raise StorageFailed(f"{path}: Input/output error")
        return super().get(path)

    def exists(self, path: str) -> bool:
        return self.get(path) is not None


@pytest.mark.parametrize("contents", [False, True])
def test_what_the_storage_refuses_is_a_finding(
    bench: EditableRepository, contents: object
) -> None:
    names = {
        "mutable": (MANIFEST, REFLOG, WHITELIST),
        "objects": (
            bench.catalog_name(INNER),
            bench.manifest.certificate.path(Kind.CERTIFICATE),
            ContentHash.of(pack(b"some bytes")).path(Kind.BULK),
        ),
    }
    for name in (*names["mutable"], *names["objects"]):
        storage = Refusing(bench.files, name)

        found = list(
            check(storage, FQRN, [keys().public_key], now=NOW, contents=bool(contents))
        )

        assert found
        assert all("Input/output error" in finding.what for finding in found)


class BreakingOff(FilesInMemory):
    """A storage that hands out streams which end in an error."""

    def open(self, path: str) -> BinaryIO:
        stream = super().open(path)

        def read(_size: int = -1) -> bytes:
            raise OSError(5, "Input/output error")

        stream.read = read  # type: ignore[method-assign]
        return stream


def test_a_stream_that_breaks_off_is_a_finding(bench: EditableRepository) -> None:
    storage = BreakingOff(bench.files)

    found = list(check(storage, FQRN, [keys().public_key], now=NOW, contents=True))

    assert len(found) == 21
    assert all("Input/output error" in finding.what for finding in found)


def test_many_objects_are_asked_for_once_each(
    bench: EditableRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tiny limits, so that few objects go the ways of many.
    monkeypatch.setattr(proving, "_RECENT", 3)
    monkeypatch.setattr(proving, "_BATCH", 2)
    monkeypatch.setattr(proving, "_WINDOW", 6)
    monkeypatch.setattr(proving, "_PATIENCE_SECONDS", -1.0)
    told: list[CheckProgress] = []
    storage = Counting(bench.files)

    found = list(check(storage, FQRN, [keys().public_key], now=NOW, tell=told.append))

    assert found == []
    assert told[-1].objects == 19
    assert len(storage.asked) == len(set(storage.asked)) == 19


class Counting(FilesInMemory):
    """A storage that remembers what it was asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(files)
        self.asked: list[str] = []

    def exists(self, path: str) -> bool:
        self.asked.append(path)
        return super().exists(path)


def test_findings_come_in_order_from_however_many_threads(
    bench: EditableRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for data in (b"some bytes", b"x", b"twin", b"odd name", b"here"):
        del bench.files[ContentHash.of(pack(data)).path(Kind.BULK)]
    alone = bench.told()
    monkeypatch.setattr(proving, "_BATCH", 1)
    monkeypatch.setattr(proving, "_PATIENCE_SECONDS", -1.0)

    assert bench.told() == alone
    assert len(alone) == 5


def test_no_room_to_remember_objects_ends_the_check(
    bench: EditableRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proving, "_RECENT", 3)
    monkeypatch.setattr(proving, "_SEEN", "CREATE TABLE seen (key BLOB CHECK (0))")

    with pytest.raises(StorageFailed, match="temporary database"):
        bench.check()


def test_a_check_that_is_given_up_leaves_no_thread_behind(
    bench: EditableRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proving, "_BATCH", 1)
    monkeypatch.setattr(proving, "_PATIENCE_SECONDS", -1.0)
    before = threading.active_count()
    for name in [name for name in bench.files if name.startswith("data/")]:
        if name[-1] not in "CHMX":
            del bench.files[name]

    with closing(check(bench.storage, FQRN, [keys().public_key], now=NOW)) as findings:
        next(findings)

    assert threading.active_count() == before
