"""What is wrong is found, all of it, and nothing else."""

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.damage.all_damages import ALL_DAMAGES
from tests.support.damage.damage import (
    FILE,
    ROOT,
    where_path,
)
from tests.support.damage.editable_repository import (
    IMAGE,
    INNER,
    EditableRepository,
    sound_repository,
)
from tests.support.repositories.repository_builders import keys
from workers.cvmfs.objects.objects import get_object, pack
from workers.cvmfs.storage.storage import MANIFEST, REFLOG, WHITELIST
from workers.cvmfs.values.hash import ContentHash, Kind


def test_nothing_is_found_in_a_sound_repository(bench: EditableRepository) -> None:
    assert bench.check() == []
    assert bench.check(contents=True) == []


def test_the_check_goes_on_after_the_first_finding(bench: EditableRepository) -> None:
    for damage in ALL_DAMAGES:
        if damage.name in (
            "the whitelist is of another repository",
            "the catalog of a tag is not there",
            "a file has no links",
            "the rows of a mountpoint differ in owner",
        ):
            damage.do(bench)

    assert [text.split(": ")[0] for text in bench.told()] == [
        ".cvmfswhitelist",
        "tag trunk-previous",
        "/image/file",
        "/shelf/other",
    ]


# What is unusual but sound


def test_an_external_file_needs_no_object(bench: EditableRepository) -> None:
    bench.edit_catalog(
        IMAGE, f"UPDATE catalog SET flags = flags | 128 {where_path(FILE)}"
    )
    bench.count(IMAGE, external=1, external_file_size=10)
    del bench.files[ContentHash.of(pack(b"some bytes")).path(Kind.BULK)]

    assert bench.told(contents=True) == []


def test_a_repository_may_do_without_history_description_and_reflog(
    bench: EditableRepository,
) -> None:
    bench.sign(history=None, metainfo=None, reflog=None)
    del bench.files[REFLOG]

    assert bench.told() == []


# Any bytes at all


Change = Callable[[bytes], bytes]


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """Draw a way to damage bytes: some replaced, and perhaps the end lost."""
    places = draw(
        st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)))
    )
    kept = draw(st.one_of(st.just(1.0), st.floats(0, 1)))

    def change(data: bytes) -> bytes:
        damaged = bytearray(data)
        for place, piece in places:
            start = int(place * len(data))
            damaged[start : start + len(piece)] = piece
        return bytes(damaged[: int(kept * len(data))])

    return change


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    change=changes(),
    what=st.sampled_from(
        [ROOT, IMAGE, INNER, MANIFEST, WHITELIST, REFLOG, "history", "certificate"]
    ),
)
def test_whatever_the_bytes_are_the_check_ends_and_raises_nothing(
    change: Change, what: bytes | str
) -> None:
    bench = sound_repository()
    if isinstance(what, bytes):
        bench.replace_catalog(what, change)
    elif what == "history":
        history = bench.manifest.history
        assert history is not None
        data = change(get_object(bench.storage, history, Kind.HISTORY))
        bench.sign(history=bench.put(data, Kind.HISTORY))
    elif what == "certificate":
        data = change(keys().certificate_pem)
        bench.sign(certificate=bench.put(data, Kind.CERTIFICATE))
    else:
        bench.files[what] = change(bench.files[what])
        if what == REFLOG:
            bench.sign(reflog=ContentHash.of(bench.files[REFLOG]))

    for finding in bench.check(contents=True):
        assert str(finding).isprintable()
