"""A database that SQLite itself cannot read is a finding, too."""

from tests.support.damage.editable_repository import INNER, EditableRepository


def test_a_database_whose_tables_have_no_readable_name_is_a_finding(
    bench: EditableRepository,
) -> None:
    damage = (
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = CAST(x'43524541544520ff' AS TEXT)",
    )
    bench.edit_catalog(INNER, *damage)
    bench.edit_reflog(*damage)

    first, second = bench.told()
    assert first.startswith(".cvmfsreflog: database: ")
    assert second.startswith("/shelf/other: catalog cannot be read: database: ")
