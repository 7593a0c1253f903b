"""Batches as text: what one process lays down, another commits."""

import stat
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.cvmfs import (
    Batch,
    Change,
    Chunk,
    Content,
    ContentHash,
    Dirent,
    FormatError,
    GraftTree,
    PreparedTree,
    PutFile,
    PutLink,
    RemovePath,
    RequirePath,
)
from workers.cvmfs.catalog.counters import Counters

_PATHS = st.binary(min_size=1, max_size=20).map(lambda name: b"/" + name)
_NUMBERS = st.integers(-(2**62), 2**62)
_DIGESTS = st.binary(min_size=20, max_size=20)
_TIMES = st.none() | _NUMBERS
_MARKS = st.none() | st.binary(max_size=10)
_CHUNKS = st.lists(st.builds(Chunk, _NUMBERS, _NUMBERS, _DIGESTS), max_size=3)
_CONTENTS = st.builds(
    Content, st.none() | _DIGESTS, _NUMBERS, _NUMBERS, _CHUNKS.map(tuple), _NUMBERS
)
_XATTRS = st.lists(st.tuples(st.binary(), st.binary()), max_size=2).map(tuple)
_ROOTS = st.builds(
    Dirent,
    st.integers(0, 0o7777).map(lambda mode: stat.S_IFDIR | mode),
    uid=_NUMBERS,
    gid=_NUMBERS,
    mtime=_NUMBERS,
    mtime_ns=_NUMBERS,
    content=st.none(),
    target=st.just(b""),
    device=st.just(0),
    xattrs=_XATTRS,
    link_group=st.just(0),
)
_TREES = st.builds(
    PreparedTree,
    path=_PATHS,
    hash=_DIGESTS.map(ContentHash),
    size=_NUMBERS,
    root=_ROOTS,
    link_count=_NUMBERS,
    counters=st.builds(Counters, *[_NUMBERS] * 12),
    losses=st.just({"what was lost": 1}),
    complete_at=_MARKS,
)
_CHANGES: st.SearchStrategy[Change] = st.one_of(
    _TREES.map(lambda tree: GraftTree(tree.path, tree)),
    st.builds(PutLink, _PATHS, st.binary(), _NUMBERS, _NUMBERS, _TIMES),
    st.builds(PutFile, _PATHS, _CONTENTS, _NUMBERS, _NUMBERS, _NUMBERS, _TIMES),
    st.builds(RemovePath, _PATHS),
    st.builds(RequirePath, _PATHS),
)


def as_committed(change: Change) -> Change:
    """Leave away what only those who prepared a tree are told."""
    if not isinstance(change, GraftTree):
        return change
    prepared = replace(change.prepared, losses={})
    return replace(change, prepared=prepared)


@given(st.lists(_CHANGES, max_size=4), _MARKS)
def test_a_batch_is_read_as_it_was_written(
    changes: list[Change], mark: bytes | None
) -> None:
    batch = Batch(tuple(changes), mark)
    text = batch.encode()
    assert "\n" not in text
    read = Batch.decode(text)
    assert read.changes == tuple(map(as_committed, changes))
    assert read.complete_at == mark
    assert read != batch  # each is a batch of its own


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 2, "complete_at": null, "changes": []}',
        '{"version": 1, "changes": []}',
        '{"version": 1, "complete_at": 1, "changes": []}',
        '{"version": 1, "complete_at": null, "changes": [["move", ["/a"]]]}',
        '{"version": 1, "complete_at": null, "changes": [["remove", []]]}',
        '{"version": 1, "complete_at": null, "changes": [["remove", ["/a", 1]]]}',
        '{"version": 1, "complete_at": null, "changes": [["link", ["/a"]]]}',
        '{"version": 1, "complete_at": null, "changes": [["remove", ["/\u20ac"]]]}',
    ],
)
def test_what_is_no_batch_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        Batch.decode(text)


@given(st.lists(_CHANGES, min_size=1, max_size=2), st.data())
def test_a_damaged_batch_is_read_or_refused_with_our_own_error(
    changes: list[Change], data: st.DataObject
) -> None:
    text = Batch(tuple(changes), None).encode()
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = text[:at] + data.draw(st.text(max_size=3)) + text[at + 1 :]
    with suppress(FormatError):
        Batch.decode(damaged)
