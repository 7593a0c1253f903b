"""A finding is one line for people, and progress is a number that grows."""

import itertools

from tests.support.damage.editable_repository import IMAGE, EditableRepository
from workers.cvmfs.checking.check import CheckProgress


def test_a_finding_is_one_line_whatever_the_names_are(
    bench: EditableRepository,
) -> None:
    odd = "/image/directory/odd\\xe9\\n"
    bench.edit_catalog(
        IMAGE, "UPDATE catalog SET uid = -1 WHERE instr(name, char(10)) > 0"
    )

    assert bench.told() == [f"{odd}: column uid holds -1"]


def test_the_progress_only_grows_and_ends_with_all_there_is(
    bench: EditableRepository,
) -> None:
    told: list[CheckProgress] = []

    bench.check(contents=True, tell=told.append)

    assert all(
        old <= new
        for before, after in itertools.pairwise(told)
        for old, new in zip(before, after, strict=True)
    )
    assert told[-1].catalogs == 4
    assert told[-1].entries == 28
    assert told[-1].objects == 21
    assert told[-1].bytes > 1000
