"""What is packed comes back as it was."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.repositories.drawn_trees import dirents
from tests.support.repositories.repository_builders import directory, file
from workers.cvmfs import Chunk, Content, Dirent
from workers.cvmfs.values.packed_entries import pack, packed_count, unpack

_HASHES = st.one_of(
    st.binary(min_size=20, max_size=20), st.sampled_from([b"", b"short", None])
)
_CHUNKS = st.builds(Chunk, st.integers(0, 2**40), st.integers(0, 2**40), st.binary())
_CONTENTS = st.builds(
    Content,
    _HASHES,
    st.integers(0, 2**63),
    st.sampled_from([0, 1]),
    st.lists(_CHUNKS, max_size=2).map(tuple),
    st.sampled_from([0, 2]),
)
# Whatever a catalog may have been made to say; nobody has looked at it yet.
_DIRENTS = st.one_of(
    dirents(),
    st.builds(
        lambda dirent, content: dirent._replace(content=content), dirents(), _CONTENTS
    ),
    dirents().map(lambda dirent: dirent._replace(link_group=7)),
)
_NAMES = st.one_of(st.binary(max_size=4), st.sampled_from([b"", b"/", b"a/b", b"."]))


@given(st.dictionaries(_NAMES, _DIRENTS, max_size=6))
def test_any_entries_come_back_as_they_were(entries: dict[bytes, Dirent]) -> None:
    packed = pack(entries)
    assert packed_count(packed) == len(entries)
    unpacked = unpack(packed)
    assert list(unpacked.items()) == list(entries.items())
    # Tuples are equal whatever they are; what they are called must come back, too.
    assert repr(unpacked) == repr(entries)


def test_what_entries_have_in_common_is_packed_once() -> None:
    contents = [Content(b"%20d" % number, number) for number in range(1000)]
    entries = {b"%d" % content.size: file(content, uid=1) for content in contents}
    others = {**entries, b"other": directory()}
    for packed in (pack(entries), pack(others)):
        assert len(packed) < 60 * len(entries)
    assert unpack(pack(entries)) == entries
    assert unpack(pack(others)) == others
