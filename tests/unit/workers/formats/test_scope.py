"""What a run may change, and what is published under its name.

What it may not is in ``publishing/test_forged_batches.py``; all that formats publish is
asked in each test of ``jobs``.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.repositories.repository_builders import new_repository
from workers.cvmfs import (
    Change,
    EditRecords,
    PutFile,
    PutLink,
    RemovePath,
    Repository,
    RequirePath,
)
from workers.formats.documents import RECEIPT
from workers.formats.paths import FORMER, image_path, metadata_path
from workers.formats.scope import objection, state
from workers.reference import Reference

NAME = "localhost:5000/group/image:1"
OWN = Reference.parse(NAME)
LINK, BESIDE = image_path(OWN), metadata_path(OWN)
RECEIPT_PATH = BESIDE + b"/" + RECEIPT
FORMER_PATH = FORMER + LINK + b"/0123/" + RECEIPT


@pytest.mark.parametrize(
    "change",
    [
        PutLink(LINK, b"../../.flat/ab/abc"),
        PutLink(LINK, b"../../.multiarch/$(CVMFS_ARCH:-amd64)" + LINK),
        RemovePath(LINK),
        PutLink(b"/.multiarch/amd64" + LINK, b"../../../../.flat/ab/abc"),
        PutLink(b"/.multiarch/x86_64", b"amd64"),
        RemovePath(b"/.multiarch/arm:v7" + LINK),
        RemovePath(BESIDE),
        RemovePath(b"/.metadata/.multiarch/arm64" + LINK),
        RemovePath(FORMER + LINK + b"/0123"),
        RemovePath(b"/.layers/ab/abc"),
        RemovePath(b"/podmanStore/overlay/ab"),
        EditRecords(
            b"/podmanStore/overlay-images/images.json",
            (f'{{"id": "x", "names": ["{NAME}", "{OWN.name}@sha256:ab"]}}',),
            (NAME,),
        ),
        EditRecords(b"/podmanStore/overlay-layers/layers.json", ('{"id": "x"}',)),
        RequirePath(b"/anything"),
    ],
    ids=str,
)
def test_what_belongs_to_a_name_may_be_changed_for_it(change: Change) -> None:
    assert objection(NAME, [change]) is None


@pytest.mark.parametrize("target", [b"/etc", b"../../etc", b"a/b", b"..", b".", b""])
def test_the_other_name_of_a_platform_leads_to_one_beside_it(target: bytes) -> None:
    assert objection(NAME, [PutLink(b"/.multiarch/x86_64", target)]) is not None


@pytest.mark.parametrize("names", ['"other"', "7", '{"a": 1}', '[["x"]]', "[null]"])
def test_odd_names_are_not_its_own(names: str) -> None:
    record = f'{{"id": "x", "names": {names}}}'
    change = EditRecords(b"/podmanStore/overlay-images/images.json", (record,))
    assert objection(NAME, [change]) is not None


def test_an_objection_names_path_and_reference_in_one_line() -> None:
    said = objection(NAME, [RemovePath(b"/etc\n\xff")])
    assert said is not None
    assert "/etc" in said
    assert NAME in said
    assert said.isprintable()


def test_nothing_is_the_own_of_what_is_no_name() -> None:
    assert "not valid" in (objection("registry.example.org/UPPER:1", []) or "")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def test_each_publication_and_removal_leaves_another_state(
    repository: Repository,
) -> None:
    def put(path: bytes, data: bytes) -> Callable[[], Change]:
        return lambda: PutFile(path, repository.sink.put_bytes(data))

    seen = [state(repository.read(), NAME)]
    story = (
        [put(RECEIPT_PATH, b"first")],
        [put(RECEIPT_PATH, b"second"), put(FORMER_PATH, b"first, until 1")],
        [put(RECEIPT_PATH, b"first")],
        [lambda: RemovePath(BESIDE), put(FORMER_PATH, b"first, until 2")],
        [put(RECEIPT_PATH, b"first")],
        [lambda: RemovePath(BESIDE), put(FORMER_PATH, b"first, until 3")],
    )
    for number, steps in enumerate(story, 1_800_000_000):
        repository.commit([step() for step in steps], now=number)
        seen.append(state(repository.read(), NAME))
    assert len(set(seen)) == len(story) + 1


def test_what_is_published_of_others_leaves_it_as_it_is(
    repository: Repository,
) -> None:
    before = state(repository.read(), NAME)
    other = metadata_path(Reference.parse(f"{NAME}2")) + b"/" + RECEIPT
    content = repository.sink.put_bytes(b"other")
    repository.commit([PutFile(other, content)], now=1_800_000_000)
    assert state(repository.read(), NAME) == before
