"""Work on metadata alone: merging layers, writing and reading catalogs."""

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from tests.bench.images import bench_image
from tests.bench.report import Figure, Settings, median
from workers.cvmfs import Catalog, Chunk, Content, NestedCatalog, Tree
from workers.cvmfs.catalog.prepare import draft_catalog
from workers.cvmfs.catalog.tree_reader import read_tree
from workers.images.layers.budget import Budget
from workers.images.layers.content import ContentPool
from workers.images.layers.layer_tree import LayerTree
from workers.images.layers.merge import merge
from workers.images.layers.read import read_layer

_MOUNTPOINT = b"/.flat/ab/" + b"ab" * 32
_MERGE_REACH = 150_000

Result = TypeVar("Result")


class HashingSink:
    """Takes contents, tells them apart, and keeps nothing."""

    piece_size = 8 << 20

    def put_bytes(self, data: bytes) -> Content:
        digest = hashlib.sha1(data, usedforsecurity=False).digest()
        return Content(digest, len(data))

    def put_piece(self, data: bytes, offset: int) -> Chunk:
        digest = hashlib.sha1(data, usedforsecurity=False).digest()
        return Chunk(offset, len(data), digest)

    def join_pieces(self, pieces: tuple[Chunk, ...]) -> Content:
        return Content(None, sum(piece.size for piece in pieces), chunks=pieces)

    def pieces(self, content: Content) -> Iterator[bytes]:
        raise LookupError(content)


def measure(settings: Settings) -> Iterator[Figure]:
    """Merge the image's layers, write the catalog of that, and read it back."""
    repeats = 3 if settings.is_quick else 9
    paths = bench_image(is_quick=settings.is_quick).layers
    layers = [_read(path) for path in paths]
    entries = sum(map(_count, (layer.tree for layer in layers)))
    tree = merge(layers)
    draft = draft_catalog(_MOUNTPOINT, tree)

    copying = _rate(lambda: [_copied(layer.tree) for layer in layers], entries, repeats)
    merging = _rate(lambda: merge(layers), entries, repeats)
    rate = median(merging)
    yield Figure(
        f"merging {entries} entries of {len(layers)} layers",
        rate,
        "entries/s",
        rate / median(copying),
        "copying their dictionaries",
        f">= {_MERGE_REACH}",
        rate >= _MERGE_REACH,
        tuple(merging),
    )

    rows = _count(tree) + 1
    raw_rows = _raw_rows(draft.data)
    inserting = _rate(lambda: _insert(draft.data, raw_rows), rows, repeats)
    writing = _rate(lambda: draft_catalog(_MOUNTPOINT, tree), rows, repeats)
    yield Figure(
        f"writing a catalog of {rows} rows",
        median(writing),
        "rows/s",
        median(writing) / median(inserting),
        "SQLite inserting the same, one by one",
        samples=tuple(writing),
        details={"bytes": len(draft.data)},
    )

    fetching = _rate(lambda: _raw_rows(draft.data), rows, repeats)
    reading = _rate(lambda: _read_back(draft.data), rows, repeats)
    yield Figure(
        "reading it back as a tree",
        median(reading),
        "rows/s",
        median(reading) / median(fetching),
        "SQLite fetching the same",
        samples=tuple(reading),
    )


def _read(path: Path) -> LayerTree:
    with path.open("rb") as blob, ContentPool(HashingSink(), 1) as pool:
        return read_layer(blob, pool, Budget(1 << 40, 1 << 30))


def _count(tree: Tree) -> int:
    return sum(map(len, tree.directories.values()))


def _copied(tree: Tree) -> Tree:
    copies = {path: dict(entries) for path, entries in tree.directories.items()}
    return Tree(tree.root, copies)


def _rate(work: Callable[[], object], count: int, repeats: int) -> list[float]:
    rates = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        rates.append(count / (time.perf_counter() - started))
    return rates


def _raw_rows(data: bytes) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.text_factory = bytes
        connection.deserialize(data)
        return connection.execute("SELECT * FROM catalog").fetchall()


def _insert(data: bytes, rows: list[tuple[object, ...]]) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(data)
        connection.execute("DELETE FROM catalog")
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO catalog VALUES ({marks})", rows)


def _read_back(data: bytes) -> Tree:
    def nothing_nested(reference: NestedCatalog) -> Catalog:
        raise LookupError(reference)

    with closing(Catalog(data, _MOUNTPOINT)) as catalog:
        return read_tree(catalog, nothing_nested)
