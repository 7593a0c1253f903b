"""Each rule for rows is broken by a row that it is for, and by no sound one."""

from collections import Counter

import pytest

from tests.support.damage.damage import DIRECTORY, FILE, ROOT, change_row, where_path
from tests.support.damage.editable_repository import (
    IMAGE,
    INNER,
    OUTER,
    EditableRepository,
    opened_database,
    sound_repository,
)
from tests.support.damage.rows_and_chunks import ROWS
from workers.cvmfs.catalog.schema import COLUMNS
from workers.cvmfs.checking.rules import (
    BROKEN_RULES,
    ENTRY_RULES,
    RULES,
    TYPE_RULES,
    TYPES_MASK,
    RowRule,
    broken_rules,
)
from workers.cvmfs.objects.objects import get_object
from workers.cvmfs.values.hash import ContentHash, Kind, path_key

INTEGERS = set(COLUMNS) - {"name", "symlink", "hash", "xattr", "mtimens"}


def broken_in(bench: EditableRepository, mountpoint: bytes) -> list[RowRule]:
    """Return the rules that rows of a catalog break, each as often as it is broken."""
    name = bench.catalog_name(mountpoint)
    digest = ContentHash.parse(name.removeprefix("data/").replace("/", "")[:40])
    first, second = path_key(mountpoint)
    wanted = {"first": first, "second": second, "is_nested": mountpoint != ROOT}
    with opened_database(get_object(bench.storage, digest, Kind.CATALOG)) as connection:
        masks = connection.execute(
            # The root of a nested catalog is asked other things (see entries.py).
            f"SELECT {BROKEN_RULES} FROM catalog"
            " WHERE NOT (md5path_1 = :first AND md5path_2 = :second)",
            wanted,
        ).fetchall()
    return [rule for (mask,) in masks for rule in broken_rules(mask)]


@pytest.mark.parametrize("mountpoint", [ROOT, IMAGE, OUTER, INNER])
def test_sound_rows_break_no_rule(bench: EditableRepository, mountpoint: bytes) -> None:
    assert broken_in(bench, mountpoint) == []


@pytest.mark.slow
def test_each_rule_for_entries_is_broken_by_a_damage_that_we_know() -> None:
    both = change_row("both", DIRECTORY, "flags = flags | 2 | 16384")
    broken = Counter[RowRule]()
    for damage in (*ROWS, both):
        bench = sound_repository()
        damage.do(bench)
        broken.update(broken_in(bench, IMAGE))
    assert [rule.what for rule in ENTRY_RULES if not broken[rule]] == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *((column, "'x'") for column in sorted(INTEGERS)),
        *((column, "x'00'") for column in ("name", "symlink", "hash")),
        ("hash", "'text'"),
        ("mtimens", "'x'"),
        ("mtimens", "1000000000"),
        ("xattr", "'x'"),
        ("size", "-1"),
        *((column, str(1 << 32)) for column in ("uid", "gid")),
    ],
)
def test_a_column_that_holds_what_it_may_not_is_named(
    bench: EditableRepository, column: str, value: str
) -> None:
    bench.edit_catalog(
        IMAGE, f"UPDATE catalog SET {column} = {value} {where_path(FILE)}"
    )
    (broken,) = broken_in(bench, IMAGE)
    assert broken in TYPE_RULES
    assert broken.what.startswith(f"column {column} holds ")


def test_of_a_row_of_wrong_types_nothing_else_is_asked() -> None:
    all_of_them = (1 << len(RULES)) - 1
    assert broken_rules(all_of_them) == list(TYPE_RULES)
    assert broken_rules(all_of_them & ~TYPES_MASK) == list(ENTRY_RULES)
    assert broken_rules(0) == []
