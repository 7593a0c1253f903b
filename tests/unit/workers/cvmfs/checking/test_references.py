"""History and reflog name what is there."""

import pytest

from tests.support.damage.damage import Damage, found_as_promised
from tests.support.damage.editable_repository import EditableRepository
from tests.support.damage.reflog_and_history import HISTORY, REFERENCES
from workers.cvmfs.values.hash import ContentHash


@pytest.mark.parametrize("damage", REFERENCES + HISTORY, ids=lambda damage: damage.name)
def test_each_damage_to_a_reference_is_found_and_nothing_else(damage: Damage) -> None:
    found_as_promised(damage)


def test_a_history_from_before_there_were_branches_is_sound(
    bench: EditableRepository,
) -> None:
    bench.edit_history(
        "DROP TABLE branches",
        "UPDATE properties SET value = '2' WHERE key = 'schema_revision'",
    )

    assert bench.told() == []


def test_a_checksum_that_is_given_counts_more_than_the_manifests(
    bench: EditableRepository,
) -> None:
    checksum = bench.manifest.reflog
    bench.sign(reflog=ContentHash(b"x" * 20))

    assert bench.check(reflog_checksum=checksum) == []
    bench.sign(reflog=checksum)
    (finding,) = bench.check(reflog_checksum=ContentHash(b"x" * 20))
    assert finding.where == ".cvmfsreflog"
