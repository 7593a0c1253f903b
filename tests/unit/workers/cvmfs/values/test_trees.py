"""Directories whose entries are packed are like any others, whatever is done to them.

A tree with a limit of its own for each example is compared with plain dictionaries, so
that all is packed, nothing, or something at every moment.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.repositories.repository_builders import directory, file
from workers.cvmfs import Content, Directories, Dirent, Tree
from workers.cvmfs.objects.objects import EMPTY_CONTENT

PATHS = st.sampled_from([b"", b"a", b"a/b", b"c"])
NAMES = st.sampled_from([b"1", b"2", b"3", b"4"])
DIRENTS = st.builds(
    lambda size, group: file(Content(b"%20d" % size, size))._replace(link_group=group),
    st.integers(0, 3),
    st.integers(0, 1),
)
ENTRIES = st.dictionaries(NAMES, DIRENTS, max_size=4)

Model = dict[bytes, dict[bytes, Dirent]]


class Pair:
    """A tree's directories, and what they should be."""

    def __init__(self, given: Model, most_loose: int) -> None:
        self.real = Directories(given, most_loose=most_loose)
        self.model = {path: dict(entries) for path, entries in given.items()}

    def do(self, data: st.DataObject, other: "Pair") -> None:
        """Do anything; what it says must be the same."""
        path, name, dirent = data.draw(PATHS), data.draw(NAMES), data.draw(DIRENTS)
        here, there = self.model.get(path), other.model.get(path)
        what = data.draw(
            st.sampled_from(
                ["put", "drop", "set", "delete", "share", "find", "pack", "keep"]
            )
        )
        if what == "put" and here is not None:
            self.real.put(path, name, dirent)
            here[name] = dirent
        elif what == "drop" and here is not None:
            self.real.drop(path, name)
            here.pop(name, None)
        elif what == "set":
            entries = data.draw(ENTRIES)
            self.real[path] = entries
            self.model[path] = dict(entries)
            entries.clear()  # it was copied
        elif what == "delete" and here is not None:
            del self.real[path], self.model[path]
        elif what == "share" and there is not None:
            place = data.draw(PATHS)
            self.real.share(place, other.real, path)
            self.model[place] = dict(there)
        elif what == "find":
            assert self.real.find(path, name) == (here or {}).get(name)
        elif what == "pack":
            self.real.pack()
        elif what == "keep":
            self.real.keep_loose(data.draw(st.integers(0, 4)))

    def compare(self) -> None:
        real, model = self.real, self.model
        assert real == model
        assert list(real) == list(model)
        assert len(real) == len(model)
        assert real.sizes() == {path: len(model[path]) for path in model}
        for path in model:
            assert path in real
            assert real.is_empty(path) is (not model[path])
            assert list(real[path]) == list(model[path])


@given(st.data())
def test_packed_directories_are_like_any_others(data: st.DataObject) -> None:
    limits = st.integers(0, 12)
    first, second = (
        Pair(data.draw(st.dictionaries(PATHS, ENTRIES)), data.draw(limits))
        for _ in range(2)
    )
    for _ in range(data.draw(st.integers(0, 30))):
        first.do(data, second)
        first, second = second, first
        first.compare()
        second.compare()


def test_a_directory_that_is_not_there_has_no_entries() -> None:
    directories = Directories({b"": {}})
    assert directories.find(b"missing", b"name") is None
    assert directories.get(b"missing") is None
    with pytest.raises(KeyError):
        directories.put(b"missing", b"name", directory())


def test_entries_that_come_in_no_order_are_all_there() -> None:
    """Each one in a directory that would have been packed just before."""
    names = [b"%d" % number for number in range(40)]
    directories = Directories({name: {} for name in names}, most_loose=10)
    entry = file(EMPTY_CONTENT)
    for name in names:
        for path in names:
            directories.put(path, name, entry)
    assert directories == {path: dict.fromkeys(names, entry) for path in names}


def test_a_tree_has_a_root_and_says_what_is_in_it() -> None:
    tree = Tree(directory())
    assert tree.directories == {b"": {}}
    tree.directories.put(b"", b"file", file(EMPTY_CONTENT))
    assert "file" in repr(tree)
    assert tree == Tree(directory(), {b"": {b"file": file(EMPTY_CONTENT)}})
