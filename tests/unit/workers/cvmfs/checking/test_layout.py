"""Rows are put into their places as far as they can be."""

from tests.support.damage.damage import (
    DEEP,
    DIRECTORY,
    ROOT,
    key_of,
    parent_of,
    where_path,
)
from tests.support.damage.editable_repository import IMAGE, EditableRepository


def test_rows_without_a_place_are_told_as_well_as_they_can_be(
    bench: EditableRepository,
) -> None:
    bench.edit_catalog(
        IMAGE, f"UPDATE catalog SET parent_1 = 5, uid = -1 {where_path('/image/empty')}"
    )
    bench.edit_catalog(
        ROOT,
        f"UPDATE catalog SET {key_of('/image/latest')}, {parent_of('/image')},"
        f" uid = -1 {where_path('/latest')}",
        f"UPDATE catalog SET uid = -1 {where_path('')}",
    )

    assert bench.told() == [
        "/: column uid holds -1",
        "/image/latest: column uid holds -1",
        "/image/.../empty: column uid holds -1",
    ]


def test_path_keys_that_lead_in_circles_are_followed_once(
    bench: EditableRepository,
) -> None:
    bench.edit_catalog(
        IMAGE,
        f"UPDATE catalog SET md5path_1 = md5path_1 + 1 {where_path(DIRECTORY)}",
        f"UPDATE catalog SET {key_of(DIRECTORY)} {where_path(DEEP)}",
    )

    found = bench.told()

    assert f"{DIRECTORY}: is there twice: the name is taken already" in found
    assert f"{DEEP}: is filed under the path key of another path" in found
