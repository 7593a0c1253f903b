"""What is wrong with a row or with the pieces of a file is found."""

import pytest

from tests.support.damage.damage import Damage, found_as_promised
from tests.support.damage.rows_and_chunks import CHUNKS, ROWS


@pytest.mark.slow
@pytest.mark.parametrize("damage", ROWS + CHUNKS, ids=lambda damage: damage.name)
def test_each_damage_to_an_entry_is_found_and_nothing_else(damage: Damage) -> None:
    found_as_promised(damage)
