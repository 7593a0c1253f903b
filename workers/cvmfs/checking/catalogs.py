"""All catalogs of a revision, one after the other, outer ones first.

A catalog is closed before those nested in it are opened: memory holds one database at
a time, and of the catalogs around it no more than their counters and mountpoints.

Source: cvmfs/swissknife_check.cc, ``CommandCheck::InspectTree``.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TypeVar

from workers.cvmfs.catalog.counters import Counters
from workers.cvmfs.catalog.database import translated
from workers.cvmfs.catalog.reader import NestedCatalog
from workers.cvmfs.checking.entries import examine_entries
from workers.cvmfs.checking.finding import Finding, Findings
from workers.cvmfs.checking.integrity import all_properties
from workers.cvmfs.checking.layout import Layout, read_layout
from workers.cvmfs.checking.mounts import (
    Mount,
    TopRow,
    examine_mounts,
    examine_root,
    top_row,
)
from workers.cvmfs.checking.proving import ANY_SIZE, Prover, WantedObject
from workers.cvmfs.checking.tables import (
    compare_counters,
    examine_properties,
    open_tables,
    own_counters,
    schema_revision,
    stored_counters,
)
from workers.cvmfs.errors import FormatError, StorageFailed
from workers.cvmfs.objects.objects import MAX_DATABASE_BYTES, unpack
from workers.cvmfs.storage.storage import ObjectSource
from workers.cvmfs.values.dirent import ZLIB
from workers.cvmfs.values.hash import ContentHash, Kind, path_key
from workers.cvmfs.values.paths import printable

_Result = TypeVar("_Result")

_SELECT_OBJECTS = """
SELECT hash, flags >> 8 & 7, x'', size, flags >> 11 & 7, md5path_1, md5path_2
FROM catalog WHERE typeof(hash) = 'blob' AND length(hash) = 20
AND mode & 61440 = 32768 AND flags & 128 = 0 AND typeof(size) = 'integer'
AND flags >> 8 & 7 < 3"""
_SELECT_CHUNK_OBJECTS = """
SELECT chunks.hash, flags >> 8 & 7, x'50', chunks.size, flags >> 11 & 7,
  md5path_1, md5path_2
FROM chunks JOIN catalog USING (md5path_1, md5path_2)
WHERE typeof(chunks.hash) = 'blob' AND length(chunks.hash) = 20
AND flags & 64 AND flags & 128 = 0 AND typeof(chunks.size) = 'integer'
AND flags >> 8 & 7 < 3"""


@dataclass(slots=True)
class _Visit:
    """A catalog that has been examined, while those nested in it are.

    Attributes:
        mountpoint: of the catalog.
        properties: what it says of itself.
        own: its rows, counted.
        stored: its counters, as they stand in it.
        pending: the nested ones still to be examined.
        subtree: the nested ones so far, counted; ``None`` once one could not be read.
    """

    mountpoint: bytes
    properties: Mapping[str, str]
    own: Counters
    stored: Mapping[str, int]
    pending: list[Mount]
    subtree: Counters | None = field(default_factory=Counters)


def examine_catalogs(
    source: ObjectSource,
    root: NestedCatalog,
    prover: Prover,
    tell: Callable[[int], None],
) -> Findings[Mapping[str, str]]:
    """Examine the catalogs of a revision, and everything they name.

    Args:
        source: the storage.
        root: what names the root catalog.
        prover: proves the objects.
        tell: is told the number of rows of each catalog when it is done.

    Returns:
        The properties of the root catalog, empty when it cannot be read.
    """
    first = yield from _examine(source, root, None, prover, tell)
    if first is None:
        return {}
    visits = [first]
    while visits:
        visit = visits[-1]
        if visit.pending:
            mount = visit.pending.pop()
            inner = yield from _examine(source, mount.catalog, mount.row, prover, tell)
            if inner is None:
                visit.subtree = None
            else:
                visits.append(inner)
            continue
        visits.pop()
        if visit.subtree is not None:
            yield from compare_counters(
                "subtree", visit.subtree, visit.stored, visit.mountpoint
            )
        if visits:
            _add(visits[-1], visit)
    return first.properties


def _add(outer: _Visit, inner: _Visit) -> None:
    if outer.subtree is None or inner.subtree is None:
        outer.subtree = None
    else:
        outer.subtree = outer.subtree.plus(inner.own).plus(inner.subtree)


def _examine(
    source: ObjectSource,
    reference: NestedCatalog,
    outer: TopRow | None,
    prover: Prover,
    tell: Callable[[int], None],
) -> Findings[_Visit | None]:
    """Examine one catalog; ``None`` when it could not be read."""
    path = reference.path
    connection = yield from _load(source, reference)
    if connection is None:
        return None
    with closing(connection):
        visit = yield from _guarded(path, _examine_frame(connection, path))
        layout = yield from _guarded(path, _examine_rows(connection, path, outer))
        if visit is None or layout is None:
            return None
        mounted = yield from _guarded(
            path,
            examine_mounts(
                connection, path, layout.nested.values(), layout.bound.values()
            ),
        )
        if mounted is None:
            return None
        visit.pending = mounted.nested[::-1]  # taken from the end
        if not mounted.is_complete:
            visit.subtree = None
        objects = chain(_objects(connection), map(_bound_object, mounted.bound))
        where = partial(_where, connection, layout)
        yield from _guarded(path, prover.prove(objects, where))
    tell(visit.own.regular + visit.own.symlink + visit.own.special + visit.own.dir)
    return visit


def _examine_frame(connection: sqlite3.Connection, path: bytes) -> Findings[_Visit]:
    properties = all_properties(connection)
    yield from examine_properties(properties, path)
    own = own_counters(connection)
    stored = yield from stored_counters(connection, schema_revision(properties), path)
    yield from compare_counters("self", own, stored, path)
    return _Visit(path, properties, own, stored, [])


def _examine_rows(
    connection: sqlite3.Connection, path: bytes, outer: TopRow | None
) -> Findings[Layout]:
    root = top_row(connection, path)
    layout = read_layout(connection, path)
    if root is None or not layout.paths:
        yield Finding.at(path, "catalog has no directory for its root")
        return layout
    yield from examine_root(root, path, outer)
    yield from examine_entries(connection, layout)
    return layout


def _guarded(path: bytes, part: Findings[_Result]) -> Findings[_Result | None]:
    """Go through one part of the examination; if it breaks off, say so."""
    try:
        with translated("database"):
            return (yield from part)
    except StorageFailed:
        raise  # ours, not the repository's: no room for the list of objects
    except FormatError as error:
        yield Finding.at(path, f"catalog cannot be examined: {error}")
        return None


def _objects(connection: sqlite3.Connection) -> Iterator[WantedObject]:
    for query in (_SELECT_OBJECTS, _SELECT_CHUNK_OBJECTS):
        yield from map(WantedObject._make, connection.execute(query))


def _bound_object(catalog: NestedCatalog) -> WantedObject:
    first, second = path_key(catalog.path)
    digest, algorithm = catalog.hash
    return WantedObject(digest, algorithm, b"C", ANY_SIZE, ZLIB, first, second)


def _where(connection: sqlite3.Connection, layout: Layout, wanted: WantedObject) -> str:
    owner = (wanted.owner, wanted.owner_2)
    parent_1, parent_2, name = connection.execute(
        "SELECT parent_1, parent_2, name FROM catalog"
        " WHERE md5path_1 = ? AND md5path_2 = ?",
        owner,
    ).fetchone() or (0, 0, None)
    return printable(layout.path(owner, (parent_1, parent_2), name))


def _load(
    source: ObjectSource, reference: NestedCatalog
) -> Findings[sqlite3.Connection | None]:
    """Fetch a catalog and open it; the one place where its size is compared."""
    path = reference.path
    name = reference.hash.path(Kind.CATALOG)
    try:
        stored = source.get(name)
        if ContentHash.of(stored, reference.hash.algorithm) != reference.hash:
            yield Finding.at(path, f"catalog {name} is damaged: it has another hash")
            return None
        data = unpack(stored, MAX_DATABASE_BYTES)
    except FormatError as error:
        yield Finding.at(path, f"catalog {name} cannot be loaded: {error}")
        return None
    if reference.size not in (0, len(data)):
        yield Finding.at(
            path,
            f"catalog {name} has {len(data)} bytes, {reference.size} are registered",
        )
    return (yield from open_tables(data, path))
