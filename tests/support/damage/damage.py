"""A mistake in a repository, and what must be found then."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.support.damage.editable_repository import (
    IMAGE,
    EditableRepository,
    sound_repository,
)

ROOT = b""
SOME_HASH = "x'" + "5a" * 20 + "'"

FILE, LINK, PIPE, NULL = "/image/file", "/image/link", "/image/pipe", "/image/null"
EMPTY, LARGE, BARE = "/image/empty", "/image/large", "/image/bare"
DIRECTORY, DEEP = "/image/directory", "/image/directory/deep"


@dataclass(frozen=True)
class Damage:
    """One mistake.

    Attributes:
        name: what is wrong, as a sentence without its end.
        do: does it.
        found: of each finding, in order, how its text begins.
        stock: whether the stock check finds fault.
        in_contents: whether only reading all contents shows it.
    """

    name: str
    do: Callable[[EditableRepository], None]
    found: tuple[str, ...]
    stock: bool | None = True
    in_contents: bool = False


def found_as_promised(damage: Damage) -> None:
    """Do the damage to a sound repository: all of it is found, and nothing else."""
    bench = sound_repository()
    damage.do(bench)

    found = bench.told(contents=damage.in_contents)

    assert len(found) == len(damage.found), found
    for text, expected in zip(found, damage.found, strict=True):
        assert text.startswith(expected)


def where_path(path: str) -> str:
    """Return the SQL condition for the row of a path."""
    return f"WHERE md5path_1 = key1('{path}') AND md5path_2 = key2('{path}')"


def key_of(path: str) -> str:
    return f"md5path_1 = key1('{path}'), md5path_2 = key2('{path}')"


def parent_of(path: str) -> str:
    return f"parent_1 = key1('{path}'), parent_2 = key2('{path}')"


def change_row(
    name: str,
    path: str,
    change: str,
    *found: str,
    stock: bool | None = True,
    in_contents: bool = False,
    **counts: int,
) -> Damage:
    """Return the damage of changing one row of ``/image``."""

    def do(bench: EditableRepository) -> None:
        bench.edit_catalog(IMAGE, f"UPDATE catalog SET {change} {where_path(path)}")
        if counts:
            bench.count(IMAGE, **counts)

    return Damage(name, do, found, stock, in_contents)


def change_catalog(
    name: str,
    mountpoint: bytes,
    statements: str | tuple[str, ...],
    *found: str,
    stock: bool | None = True,
    **counts: int,
) -> Damage:
    """Return the damage of changing one catalog at will."""

    def do(bench: EditableRepository) -> None:
        lines = (statements,) if isinstance(statements, str) else statements
        bench.edit_catalog(mountpoint, *lines)
        if counts:
            bench.count(mountpoint, **counts)

    return Damage(name, do, found, stock)


def change_manifest(
    name: str, *found: str, stock: bool | None, **changes: object
) -> Damage:
    """Return the damage of publishing a manifest with other values."""
    return Damage(name, lambda bench: bench.sign(**changes), found, stock)
