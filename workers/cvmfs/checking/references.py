"""The two databases beside the catalogs: the reflog and the history of tags.

Source: cvmfs/swissknife_check.cc, ``InspectReflog``, ``InspectHistory``;
cvmfs-format.md sections 6.1, 6.3 and 3.8.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial

from workers.cvmfs.catalog.database import open_database, translated
from workers.cvmfs.checking.finding import Finding
from workers.cvmfs.checking.integrity import (
    all_properties,
    integrity_problems,
    number,
    table_kinds,
)
from workers.cvmfs.checking.proving import Prover, WantedObject
from workers.cvmfs.errors import FormatError, NotFound, StorageFailed
from workers.cvmfs.objects.objects import get_object
from workers.cvmfs.signing.manifest import RepositoryManifest
from workers.cvmfs.storage.storage import REFLOG, ObjectSource
from workers.cvmfs.values.hash import ContentHash, Kind

_REFLOG_KINDS = {
    0: Kind.CATALOG,
    1: Kind.CERTIFICATE,
    2: Kind.HISTORY,
    3: Kind.METAINFO,
}
_REFLOG_PROPERTIES = {"schema": "1.0", "schema_revision": "0"}
"""Tools stop with an assertion at any other."""
_HISTORY_PROPERTIES = {"schema": "1.0"}
_BRANCHES_SINCE = 3
"""The revision of the history's schema that brought branches."""
_BRANCH = re.compile(rb"[A-Za-z0-9._@/-]*")


def examine_reflog(
    source: ObjectSource,
    fqrn: str,
    manifest: RepositoryManifest,
    checksum: ContentHash | None,
    prover: Prover,
) -> Iterator[Finding]:
    """Examine the reflog, and that everything it lists is there.

    Args:
        source: the storage.
        fqrn: the repository asked for.
        manifest: of the head.
        checksum: of the reflog, where somebody knows better than the manifest.
        prover: proves the objects.
    """
    expected = checksum or manifest.reflog
    try:
        data = source.get(REFLOG)
    except NotFound:
        if expected is not None:
            yield Finding.of(REFLOG, f"is missing; its hash must be {expected}")
        return
    except FormatError as error:
        yield Finding.of(REFLOG, error)
        return
    if expected is None:
        yield Finding.of(REFLOG, "has no checksum: the manifest has no line Y")
    else:
        actual = ContentHash.of(data, expected.algorithm)
        if actual != expected:
            yield Finding.of(REFLOG, f"has hash {actual}, it must be {expected}")
    properties = _REFLOG_PROPERTIES | {"fqrn": fqrn}
    inspect = partial(_reflog, manifest=manifest, prover=prover)
    yield from _database(REFLOG, data, properties, inspect)


def examine_history(
    source: ObjectSource, fqrn: str, manifest: RepositoryManifest, prover: Prover
) -> Iterator[Finding]:
    """Examine tags and branches, and that every tag's root catalog is there."""
    if manifest.history is None:
        return
    where = manifest.history.path(Kind.HISTORY)
    try:
        data = get_object(source, manifest.history, Kind.HISTORY)
    except FormatError as error:
        yield Finding.of(where, f"history: {error}")
        return
    properties = _HISTORY_PROPERTIES | {"fqrn": fqrn}
    inspect = partial(_history, where=where, manifest=manifest, prover=prover)
    yield from _database(where, data, properties, inspect)


def _database(
    where: str,
    data: bytes,
    properties: Mapping[str, str],
    inspect: Callable[[sqlite3.Connection], Iterator[Finding]],
) -> Iterator[Finding]:
    """Open a database, examine what all have, and then what is its own.

    Args:
        where: how findings call it.
        data: its bytes.
        properties: what it must say of itself.
        inspect: examines the rest.
    """
    try:
        with (
            translated("database"),
            closing(open_database(data, "database")) as connection,
        ):
            for problem in integrity_problems(connection):
                yield Finding.of(where, problem)
            if table_kinds(connection).get("properties") != "table":
                yield Finding.of(where, "has no table properties")
                return
            found = all_properties(connection)
            for key, value in properties.items():
                if found.get(key) != value:
                    yield Finding.of(
                        where, f"has {key} {found.get(key)!r}, not {value!r}"
                    )
            yield from inspect(connection)
    except StorageFailed:
        raise  # ours, not the repository's: no room for the list of objects
    except FormatError as error:
        yield Finding.of(where, error)


def _reflog(
    connection: sqlite3.Connection, manifest: RepositoryManifest, prover: Prover
) -> Iterator[Finding]:
    if table_kinds(connection).get("refs") != "table":
        yield Finding.of(REFLOG, "has no table refs")
        return
    for digest, kind in (
        (manifest.root_catalog, 0),
        (manifest.certificate, 1),
        (manifest.history, 2),
        (manifest.metainfo, 3),
    ):
        if (
            digest is not None
            and not connection.execute(
                "SELECT count(*) FROM refs WHERE hash = ? AND type = ?",
                (str(digest), kind),
            ).fetchone()[0]
        ):
            name = digest.path(_REFLOG_KINDS[kind])
            yield Finding.of(REFLOG, f"does not list {name}, which the manifest names")
    wanted = []
    for text, kind, time in connection.execute(
        "SELECT hash, type, timestamp FROM refs"
    ):
        digest = _parsed(text)
        if digest is None or kind not in _REFLOG_KINDS or not isinstance(time, int):
            yield Finding.of(REFLOG, f"lists {(text, kind, time)!r}")
        else:
            wanted.append(WantedObject.database(digest, _REFLOG_KINDS[kind]))
    yield from prover.prove(wanted, lambda _: REFLOG)


def _history(
    connection: sqlite3.Connection,
    where: str,
    manifest: RepositoryManifest,
    prover: Prover,
) -> Iterator[Finding]:
    kinds = table_kinds(connection)
    properties = all_properties(connection)
    has_branches = (number(properties, "schema_revision") or 0) >= _BRANCHES_SINCE
    for table in ("branches", "tags") if has_branches else ("tags",):
        if kinds.get(table) != "table":
            yield Finding.of(where, f"history has no table {table}")
            return
    if "previous_revision" not in properties:
        yield Finding.of(where, "history has no previous_revision")
    if has_branches:
        yield from _branches(connection, where)
    tags: list[str] = []
    wanted: list[WantedObject] = []
    for name, text, revision, size in connection.execute(
        "SELECT CAST(name AS TEXT), hash, revision, size FROM tags"
    ):
        tag = f"tag {(name or b'').decode(errors='backslashreplace')}"
        digest = _parsed(text)
        if digest is None:
            yield Finding.of(tag, f"has the hash {text!r}")
            continue
        if not isinstance(revision, int) or not isinstance(size, int):
            yield Finding.of(tag, f"has revision {revision!r} and size {size!r}")
            continue
        if digest == manifest.root_catalog and revision != manifest.revision:
            yield Finding.of(
                tag, f"has revision {revision}, its catalog is {manifest.revision}"
            )
        wanted.append(
            WantedObject.database(digest, Kind.CATALOG, size=size, owner=len(tags))
        )
        tags.append(tag)
    yield from prover.prove(wanted, lambda one: tags[one.owner])


def _branches(connection: sqlite3.Connection, where: str) -> Iterator[Finding]:
    """Examine branches; tools compare how many there are with how many are used."""
    for branch, first, used, lowest in connection.execute(
        "SELECT CAST(branch AS TEXT), initial_revision, count(tags.name),"
        " min(tags.revision) FROM branches LEFT JOIN tags USING (branch)"
        " GROUP BY branch"
    ):
        name = branch or b""
        if _BRANCH.fullmatch(name) is None:
            yield Finding.of(where, f"history has a branch of the name {name!r}")
        if not used:
            yield Finding.of(where, f"history has the branch {name!r} without tags")
        elif isinstance(first, int) and isinstance(lowest, int) and lowest < first:
            yield Finding.of(
                where,
                f"history has a tag of revision {lowest} in branch {name!r},"
                f" which begins with {first}",
            )
    for name, branch in connection.execute(
        "SELECT CAST(name AS TEXT), branch FROM tags"
        " WHERE branch IS NULL OR branch NOT IN (SELECT branch FROM branches)"
    ):
        tag = f"tag {(name or b'').decode(errors='backslashreplace')}"
        yield Finding.of(tag, f"is in the branch {branch!r}, which does not exist")


def _parsed(text: object) -> ContentHash | None:
    try:
        return (
            ContentHash.parse(bytes.decode(text)) if isinstance(text, bytes) else None
        )
    except (FormatError, UnicodeDecodeError):
        return None
