"""Mountpoints have two rows that agree, and each catalog is named where it is."""

import pytest

from tests.support.damage.damage import ROOT, Damage, found_as_promised
from tests.support.damage.editable_repository import EditableRepository
from tests.support.damage.mounts_and_tables import BIND, BOUND, MOUNTS


@pytest.mark.parametrize("damage", MOUNTS, ids=lambda damage: damage.name)
def test_each_damage_to_a_mountpoint_is_found_and_nothing_else(damage: Damage) -> None:
    found_as_promised(damage)


def test_a_bind_mountpoint_is_sound(bench: EditableRepository) -> None:
    bench.edit_catalog(ROOT, *BOUND, BIND)
    bench.count(ROOT, symlink=-1, dir=1)

    assert bench.told(contents=True) == []
