"""Where catalogs hang in one another.

Source: cvmfs/swissknife_check.cc, ``CommandCheck::InspectTree``; cvmfs-format.md
sections 3.6 and 3.8.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from workers.cvmfs.catalog.reader import NestedCatalog
from workers.cvmfs.catalog.schema import (
    FLAG_BIND_MOUNTPOINT,
    FLAG_EXTERNAL,
    FLAG_MOUNTPOINT,
    FLAG_NESTED_ROOT,
)
from workers.cvmfs.checking.finding import Finding, Findings
from workers.cvmfs.errors import FormatError
from workers.cvmfs.values.hash import ContentHash, path_key
from workers.cvmfs.values.paths import parent

_NO_PARENT = (0, 0)
_SELECT_ROW = """
SELECT name, hardlinks, size, mode, mtime, mtimens, hash, symlink, uid, gid, xattr,
  flags, parent_1, parent_2
FROM catalog WHERE md5path_1 = ? AND md5path_2 = ?"""


class TopRow(NamedTuple):
    """What the two rows of a mountpoint must agree in, and what they differ in.

    Fields are columns as they are; whatever SQLite let in.
    """

    name: object
    hardlinks: object
    size: object
    mode: object
    mtime: object
    mtimens: object
    hash: object
    symlink: object
    uid: object
    gid: object
    xattr: object
    flags: object
    parent_1: object
    parent_2: object

    @property
    def bits(self) -> int:
        """The flags, 0 where they are no number."""
        return self.flags if isinstance(self.flags, int) else 0

    def differences(self, other: "TopRow") -> list[str]:
        """Return what is not equal although it must be, with both values."""
        shared = TopRow._fields[: TopRow._fields.index("flags")]
        different = [
            f"{name} ({mine!r} and {theirs!r})"
            for name, mine, theirs in zip(shared, self, other, strict=False)
            if mine != theirs
        ]
        if (self.bits ^ other.bits) & FLAG_EXTERNAL:
            different.append("external")
        return different


class Mount(NamedTuple):
    """A nested catalog and the row at which it is mounted."""

    catalog: NestedCatalog
    row: TopRow


class Mounted(NamedTuple):
    """All that is mounted in one catalog.

    Attributes:
        nested: catalogs with the rows at which they are mounted.
        bound: root catalogs of other revisions.
        is_complete: whether every mountpoint of a nested catalog has one that can be
            looked for.
    """

    nested: list[Mount]
    bound: list[NestedCatalog]
    is_complete: bool


def top_row(connection: sqlite3.Connection, path: bytes) -> TopRow | None:
    """Return the row of a path, ``None`` when the catalog has none."""
    row = connection.execute(_SELECT_ROW, path_key(path)).fetchone()
    return None if row is None else TopRow(*row)


def examine_root(
    root: TopRow, mountpoint: bytes, outer: TopRow | None
) -> Iterator[Finding]:
    """Examine a catalog's first row.

    Args:
        root: that row.
        mountpoint: of the catalog.
        outer: the row of the mountpoint in the catalog around; ``None`` for the root
            catalog.
    """
    expected = _NO_PARENT if outer is None else path_key(parent(mountpoint))
    if (root.parent_1, root.parent_2) != expected:
        yield Finding.at(mountpoint, "root of the catalog has the wrong parent")
    if root.bits & (FLAG_MOUNTPOINT | FLAG_BIND_MOUNTPOINT):
        yield Finding.at(mountpoint, "root of the catalog is marked as a mountpoint")
    if outer is None:
        if root.name != b"":
            yield Finding.at(mountpoint, f"root of the catalog has name {root.name!r}")
        if root.bits & FLAG_NESTED_ROOT:
            yield Finding.at(
                mountpoint, "root of the root catalog is marked as that of a nested one"
            )
        return
    if not root.bits & FLAG_NESTED_ROOT:
        yield Finding.at(mountpoint, "root of the nested catalog is not marked as such")
    different = outer.differences(root)
    if different:
        yield Finding.at(
            mountpoint,
            "mountpoint and root of the nested catalog differ in "
            + ", ".join(different),
        )


def examine_mounts(
    connection: sqlite3.Connection,
    mountpoint: bytes,
    nested: Iterable[bytes],
    bound: Iterable[bytes],
) -> Findings[Mounted]:
    """Compare mountpoints with the catalogs registered for them.

    Args:
        connection: of the catalog.
        mountpoint: of the catalog.
        nested: paths whose rows are marked as mountpoints of nested catalogs.
        bound: paths whose rows are marked as bind mountpoints.
    """
    at_nested = yield from _registered(connection, "nested_catalogs", mountpoint)
    at_bound = yield from _registered(connection, "bind_mountpoints", mountpoint)
    marked_nested, marked_bound = frozenset(nested), frozenset(bound)
    for path in sorted(at_nested.keys() & at_bound.keys()):
        yield Finding.at(path, "is registered as nested catalog and as bind mountpoint")
    for path in sorted(marked_nested - at_nested.keys()):
        yield Finding.at(path, "is a mountpoint for which no catalog is registered")
    for path in sorted(marked_bound - at_bound.keys()):
        yield Finding.at(
            path, "is a bind mountpoint for which no catalog is registered"
        )
    mounts = []
    for path, catalog in sorted(at_nested.items()):
        row = top_row(connection, path)
        if path not in marked_nested:
            yield Finding.at(
                path, "has a nested catalog registered but is no mountpoint"
            )
        if row is not None and catalog is not None:
            mounts.append(Mount(catalog, row))
    for path in sorted(at_bound.keys() - marked_bound):
        yield Finding.at(path, "has a bound catalog registered but is no mountpoint")
    return Mounted(
        mounts,
        [catalog for catalog in at_bound.values() if catalog is not None],
        marked_nested <= {mount.catalog.path for mount in mounts},
    )


def _registered(
    connection: sqlite3.Connection, table: str, mountpoint: bytes
) -> Findings[dict[bytes, NestedCatalog | None]]:
    """Read a table of catalogs by path; ``None`` for those that cannot be found."""
    found: dict[bytes, NestedCatalog | None] = {}
    for path, text, size in connection.execute(
        f"SELECT path, sha1, size FROM {table}"  # noqa: S608 - one of two constants
    ):
        if not isinstance(path, bytes):
            yield Finding.at(mountpoint, f"catalog has the path {path!r} in {table}")
            continue
        found[path] = None
        try:
            digest = ContentHash.parse(
                text.decode(errors="replace") if isinstance(text, bytes) else repr(text)
            )
        except FormatError as error:
            yield Finding.at(path, f"catalog registered there has no hash: {error}")
            continue
        if size is not None and (not isinstance(size, int) or size < 0):
            yield Finding.at(path, f"catalog registered there has size {size!r}")
            size = 0  # noqa: PLW2901 - not known, then
        found[path] = NestedCatalog(path, digest, size or 0)
    return found
