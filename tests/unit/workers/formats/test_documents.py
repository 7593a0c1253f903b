"""What lies beside the name of an image is read in one way, or counts as not there."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.images.oci import build_image, tar_of
from tests.support.repositories.repository_builders import new_repository
from workers.cvmfs import Change, PutFile, Repository
from workers.formats import documents
from workers.formats.documents import (
    CONFIG,
    MANIFEST,
    RECEIPT,
    ImageDocuments,
    platform_folders,
    read_document,
    read_documents,
    read_manifest,
    read_receipt,
)
from workers.formats.paths import metadata_path
from workers.formats.receipt import NO_RECEIPT, Receipt
from workers.images.platforms import Platform
from workers.reference import Reference

NAME = Reference.parse("registry.example.org/atlas/analysis:v1")
FOLDER = metadata_path(NAME)
IMAGE = build_image([tar_of({"a": b"a"})])


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def put(repository: Repository, files: Sequence[tuple[bytes, bytes]]) -> None:
    changes: list[Change] = [
        PutFile(path, repository.sink.put_bytes(data)) for path, data in files
    ]
    repository.commit(changes, now=int(time.time()))


def test_documents_are_read_as_they_were_written(repository: Repository) -> None:
    files = ImageDocuments(IMAGE.manifest, IMAGE.config).files(FOLDER)
    put(repository, [(file.path, file.data) for file in files])
    tree = repository.read()
    assert read_documents(tree, FOLDER) == ImageDocuments(IMAGE.manifest, IMAGE.config)
    manifest = read_manifest(tree, FOLDER)
    assert manifest is not None
    assert manifest.config.digest == IMAGE.config_digest


@pytest.mark.parametrize("alone", [MANIFEST, CONFIG])
def test_one_document_alone_is_not_enough(repository: Repository, alone: bytes) -> None:
    put(repository, [(FOLDER + b"/" + alone, b"{}")])
    assert read_documents(repository.read(), FOLDER) is None


def test_what_is_no_manifest_is_none(repository: Repository) -> None:
    put(repository, [(FOLDER + b"/" + MANIFEST, b"{}")])
    assert read_manifest(repository.read(), FOLDER) is None
    assert read_manifest(repository.read(), b"/nowhere") is None


def test_each_of_several_platforms_has_a_folder_of_its_own() -> None:
    one, other = Platform("linux", "amd64"), Platform("linux", "arm64")
    assert platform_folders(NAME, Receipt(platforms=(one,))) == {one: FOLDER}
    assert platform_folders(NAME, Receipt(platforms=(one, other))) == {
        one: b"/.metadata/.multiarch/amd64/registry.example.org/atlas/analysis:v1",
        other: b"/.metadata/.multiarch/arm64/registry.example.org/atlas/analysis:v1",
    }
    assert platform_folders(NAME, NO_RECEIPT) == {}


def test_a_receipt_that_is_not_there_or_is_none_is_an_empty_one(
    repository: Repository,
) -> None:
    assert read_receipt(repository.read(), NAME) is NO_RECEIPT
    put(repository, [(FOLDER + b"/" + RECEIPT, b"[1, 2]")])
    assert read_receipt(repository.read(), NAME) is NO_RECEIPT
    receipt = Receipt(digest=f"sha256:{'1' * 64}", converter=2)
    put(repository, [(FOLDER + b"/" + RECEIPT, receipt.document())])
    assert read_receipt(repository.read(), NAME).digest == receipt.digest


def test_a_large_file_and_a_directory_are_no_documents(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(repository, [(FOLDER + b"/" + RECEIPT, b"12345678")])
    assert read_document(repository.read(), FOLDER) is None
    assert read_document(repository.read(), FOLDER + b"/" + RECEIPT) == b"12345678"
    monkeypatch.setattr(documents, "LARGEST_BYTES", 7)
    assert read_document(repository.read(), FOLDER + b"/" + RECEIPT) is None
