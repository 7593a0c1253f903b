"""Tables are those of the schema, and counters those of the rows."""

import pytest

from tests.support.damage.damage import (
    ROOT,
    Damage,
    found_as_promised,
)
from tests.support.damage.editable_repository import IMAGE, INNER, EditableRepository
from tests.support.damage.mounts_and_tables import TABLES
from workers.cvmfs.catalog.counters import Counters


@pytest.mark.parametrize("damage", TABLES, ids=lambda damage: damage.name)
def test_each_damage_to_a_table_is_found_and_nothing_else(damage: Damage) -> None:
    found_as_promised(damage)


@pytest.mark.parametrize("scope", ["self", "subtree"])
@pytest.mark.parametrize("name", Counters._fields)
def test_each_counter_is_compared_with_the_rows(
    bench: EditableRepository, scope: str, name: str
) -> None:
    bench.edit_catalog(
        ROOT,
        f"UPDATE statistics SET value = value + 1 WHERE counter = '{scope}_{name}'",
    )

    (text,) = bench.told()

    assert text.startswith(f"/: catalog counter {scope}_{name} is ")


def test_numbers_that_no_sum_can_hold_are_a_finding(bench: EditableRepository) -> None:
    bench.edit_catalog(INNER, f"UPDATE catalog SET size = {2**62}")

    assert "/shelf/other: catalog cannot be examined: database: integer overflow" in (
        bench.told()
    )


def test_catalogs_of_older_revisions_of_the_schema_are_sound(
    bench: EditableRepository,
) -> None:
    bench.edit_catalog(ROOT, "UPDATE catalog SET mtimens = NULL")
    bench.edit_catalog(b"/shelf", "UPDATE catalog SET mtimens = NULL")
    bench.edit_catalog(
        INNER,
        "ALTER TABLE catalog DROP COLUMN mtimens",
        "ALTER TABLE catalog DROP COLUMN xattr",
        "ALTER TABLE nested_catalogs DROP COLUMN size",
        "DROP TABLE bind_mountpoints",
        "DELETE FROM statistics WHERE counter LIKE '%_xattr'"
        " OR counter LIKE '%_external%' OR counter LIKE '%_special'",
        "UPDATE properties SET value = '0' WHERE key = 'schema_revision'",
    )
    bench.edit_catalog(IMAGE, "UPDATE catalog SET mtimens = NULL")

    assert bench.told() == []
