"""An audit of a repository directory that shares no line with the code under test.

It reads the files with the standard library only (zlib, sqlite3, hashlib) and asserts
what cvmfs-format.md 3.8 lists as verified by the stock check, and more: contents, path
hashes, flags.
"""

import hashlib
import sqlite3
import stat
import struct
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

_COUNTED = (
    "regular symlink special dir nested chunked chunks file_size chunked_size xattr"
    " external external_file_size"
)
_COLUMNS = (
    "md5path_1, md5path_2, parent_1, parent_2, hardlinks, hash, size, mode, mtime,"
    " mtimens, flags, CAST(name AS BLOB) AS name, CAST(symlink AS BLOB) AS symlink,"
    " uid, gid, xattr"
)


_Key = tuple[int, int]
_Chunk = tuple[int, int, bytes]


@dataclass
class Audit:
    """What was found: all paths with their modes, and the manifest's fields."""

    fields: dict[str, str]
    modes: dict[bytes, int] = field(default_factory=dict)
    contents: dict[bytes, bytes] = field(default_factory=dict)
    catalogs: dict[bytes, str] = field(default_factory=dict)


def manifest_fields(base: Path) -> dict[str, str]:
    text = (base / ".cvmfspublished").read_bytes().split(b"\n--\n")[0].decode()
    return {line[0]: line[1:] for line in text.split("\n")}


def stored_object(base: Path, digest: str, suffix: str) -> bytes:
    raw = (base / "data" / digest[:2] / (digest[2:] + suffix)).read_bytes()
    assert hashlib.sha1(raw).hexdigest() == digest
    return zlib.decompress(raw)


def audit(base: Path, *, contents: bool = True) -> Audit:
    fields = manifest_fields(base)
    found = Audit(fields)
    size = int(fields["B"])
    _catalog(base, b"", fields["C"], size, None, found, contents=contents)
    root = _open(stored_object(base, fields["C"], "C"))
    properties = dict(root.execute("SELECT key, value FROM properties"))
    root.close()
    assert properties["revision"] == fields["S"]
    assert properties["TTL"] == fields["D"]
    assert int(properties["last_modified"]) <= int(fields["T"])
    assert "root_prefix" not in properties
    _reflog(base, fields)
    _history(base, fields)
    return found


def _open(data: bytes) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.deserialize(data)
    connection.row_factory = sqlite3.Row
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    return connection


def _key(path: bytes) -> _Key:
    first, second = struct.unpack("<qq", hashlib.md5(path).digest())
    return first, second


def _catalog(
    base: Path,
    mountpoint: bytes,
    digest: str,
    size: int,
    transition: sqlite3.Row | None,
    found: Audit,
    *,
    contents: bool,
) -> Counter[str]:
    """Audit a catalog and all below it; return the sum of their own counters."""
    data = stored_object(base, digest, "C")
    assert len(data) == size
    found.catalogs[mountpoint] = digest
    connection = _open(data)
    properties = dict(connection.execute("SELECT key, value FROM properties"))
    assert properties["schema"] == "2.5"
    assert properties["schema_revision"] == "7"
    assert properties.get("root_prefix", "") == mountpoint.decode()
    rows = connection.execute(f"SELECT {_COLUMNS} FROM catalog").fetchall()
    assert max(r[0] for r in connection.execute("SELECT rowid FROM catalog")) < 2 * len(
        rows
    )
    children, chunks = _filed(connection, rows)
    nested = {
        row["path"].encode(): (row["sha1"], row["size"])
        for row in connection.execute("SELECT * FROM nested_catalogs")
    }
    above = _key(mountpoint.rpartition(b"/")[0]) if mountpoint else (0, 0)
    (root,) = (
        row
        for row in children[above]
        if (row["md5path_1"], row["md5path_2"]) == _key(mountpoint)
    )
    assert bool(root["flags"] & 32) is bool(mountpoint)
    if transition is not None:
        for column in root.keys():  # noqa: SIM118 - sqlite3.Row iterates over values
            if column != "flags":
                assert root[column] == transition[column], column
    own: Counter[str] = Counter(nested=len(nested))
    below: Counter[str] = Counter()
    reached = 0
    mounted = set()
    pending = [(mountpoint, root)]
    while pending:
        path, row = pending.pop()
        reached += 1
        _row(base, path, row, chunks, own, found, contents=contents)
        if not stat.S_ISDIR(row["mode"]):
            continue
        entries = children[_key(path)]
        if row["flags"] & 2:
            assert not entries
            mounted.add(path)
            inner = _catalog(base, path, *nested[path], row, found, contents=contents)
            below += inner
            continue
        names = [entry["name"] for entry in entries]
        assert len(set(names)) == len(names)
        assert (b".cvmfscatalog" in names) is (path == mountpoint != b"")
        directories = [entry for entry in entries if stat.S_ISDIR(entry["mode"])]
        assert row["hardlinks"] == 2 + len(directories), path
        groups = Counter(e["hardlinks"] for e in entries if e["hardlinks"] >> 32)
        assert all(value & 0xFFFFFFFF == n > 1 for value, n in groups.items())
        pending += [(path + b"/" + entry["name"], entry) for entry in entries]
    assert reached == len(rows)
    assert mounted == set(nested)
    _statistics(connection, own, below)
    connection.close()
    return own + below


def _filed(
    connection: sqlite3.Connection, rows: list[sqlite3.Row]
) -> tuple[dict[_Key, list[sqlite3.Row]], dict[_Key, list[_Chunk]]]:
    """File rows under the key of their parent, chunks under the key of their file."""
    children = defaultdict(list)
    for row in rows:
        children[row["parent_1"], row["parent_2"]].append(row)
    chunks = defaultdict(list)
    for first, second, offset, length, blob in connection.execute(
        "SELECT * FROM chunks ORDER BY offset"
    ):
        chunks[first, second].append((offset, length, blob))
    return children, chunks


def _statistics(
    connection: sqlite3.Connection, own: Counter[str], below: Counter[str]
) -> None:
    statistics = dict(connection.execute("SELECT counter, value FROM statistics"))
    assert len(statistics) == 24
    for name in _COUNTED.split():
        assert statistics[f"self_{name}"] == own[name], name
        assert statistics[f"subtree_{name}"] == below[name], name


def _row(
    base: Path,
    path: bytes,
    row: sqlite3.Row,
    chunks: dict[_Key, list[_Chunk]],
    own: Counter[str],
    found: Audit,
    *,
    contents: bool,
) -> None:
    assert (row["md5path_1"], row["md5path_2"]) == _key(path)
    assert path.endswith(row["name"])
    kind = stat.S_IFMT(row["mode"])
    flags = row["flags"] & ~(2 | 32)
    found.modes[path] = row["mode"]
    own["xattr"] += row["xattr"] is not None
    assert row["xattr"] is None or row["xattr"][1] > 0
    assert 0 <= row["mtimens"] < 10**9
    if kind == stat.S_IFDIR:
        own["dir"] += 1
        assert flags == 1
        assert row["hash"] is None
        return
    if kind == stat.S_IFLNK:
        own["symlink"] += 1
        assert flags == 12
        assert row["hash"] is None
        assert row["symlink"]
        return
    assert row["symlink"] == b""
    if kind != stat.S_IFREG:
        own["special"] += 1
        assert flags == 20
        assert row["hash"] is None
        return
    own["regular"] += 1
    own["file_size"] += row["size"]
    pieces = chunks[row["md5path_1"], row["md5path_2"]]
    if pieces:
        own["chunked"] += 1
        own["chunks"] += len(pieces)
        own["chunked_size"] += row["size"]
        assert flags == 68
        assert row["hash"] is None
        assert [offset for offset, _, _ in pieces] == [
            sum(length for _, length, _ in pieces[:index])
            for index in range(len(pieces))
        ]
        parts = [stored_object(base, blob.hex(), "P") for _, _, blob in pieces]
        assert [len(part) for part in parts] == [length for _, length, _ in pieces]
        content = b"".join(parts)
    else:
        assert flags == 4
        assert len(row["hash"]) == 20
        if not contents:
            return
        content = stored_object(base, row["hash"].hex(), "")
    assert len(content) == row["size"]
    found.contents[path] = content


def _reflog(base: Path, fields: dict[str, str]) -> None:
    data = (base / ".cvmfsreflog").read_bytes()
    assert hashlib.sha1(data).hexdigest() == fields["Y"]
    reflog = _open(data)
    refs = dict(reflog.execute("SELECT hash, type FROM refs"))
    properties = dict(reflog.execute("SELECT key, value FROM properties"))
    reflog.close()
    for number, letter in enumerate("CXHM"):
        assert refs[fields[letter]] == number
    assert properties == {
        "schema": "1.0",
        "schema_revision": "0",
        "fqrn": fields["N"],
    }


def _history(base: Path, fields: dict[str, str]) -> None:
    history = _open(stored_object(base, fields["H"], "H"))
    tags = {row["name"]: row for row in history.execute("SELECT * FROM tags")}
    properties = dict(history.execute("SELECT key, value FROM properties"))
    branches = history.execute("SELECT * FROM branches").fetchall()
    history.close()
    assert properties["fqrn"] == fields["N"]
    assert len(properties["previous_revision"]) == 40
    assert [tuple(row) for row in branches] == [("", None, 0)]
    assert tags["trunk"]["hash"] == fields["C"]
    assert tags["trunk"]["revision"] == int(fields["S"])
    assert tags["trunk"]["size"] == int(fields["B"])
    if int(fields["S"]) > 1:
        assert tags["trunk-previous"]["revision"] == int(fields["S"]) - 1


def snapshot_of_files(base: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in base.rglob("*")
        if path.is_file() and path.name != "publish.lock"
    }


def raw_reflog(base: Path) -> dict[str, int]:
    connection = sqlite3.connect(":memory:")
    connection.deserialize((base / ".cvmfsreflog").read_bytes())
    rows = dict(connection.execute("SELECT hash, type FROM refs"))
    connection.close()
    return rows
