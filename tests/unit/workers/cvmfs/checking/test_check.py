"""What is wrong is found, all of it, and nothing else."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.damage.all_damages import DAMAGES
from tests.support.damage.damage import (
    DEEP,
    DIRECTORY,
    FILE,
    ROOT,
    Damage,
    at,
    key_of,
    parent_of,
)
from tests.support.damage.editable_repository import IMAGE, OTHER, Workbench, sound
from tests.support.damage.mounts_and_tables import BIND, BOUND
from tests.support.repositories.repository_builders import FQRN, NOW, keys
from workers.cvmfs.catalog.counters import Counters
from workers.cvmfs.checking.check import CheckProgress, check
from workers.cvmfs.objects.objects import get_object, pack
from workers.cvmfs.signing.keys import KeyRing
from workers.cvmfs.storage.storage import MANIFEST, REFLOG, WHITELIST
from workers.cvmfs.values.hash import ContentHash, Kind


@pytest.fixture
def bench() -> Workbench:
    return sound()


def texts(bench: Workbench, **options: bool) -> list[str]:
    return [str(finding) for finding in bench.check(**options)]


def test_nothing_is_found_in_a_sound_repository(bench: Workbench) -> None:
    assert bench.check() == []
    assert bench.check(contents=True) == []


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_each_damage_is_found_and_nothing_else(
    bench: Workbench, damage: Damage
) -> None:
    damage.do(bench)

    found = texts(bench, contents=damage.in_contents)

    assert len(found) == len(damage.found), found
    for text, expected in zip(found, damage.found, strict=True):
        assert text.startswith(expected)


@pytest.mark.parametrize("scope", ["self", "subtree"])
@pytest.mark.parametrize("name", Counters._fields)
def test_each_counter_is_compared_with_the_rows(
    bench: Workbench, scope: str, name: str
) -> None:
    bench.edit_catalog(
        ROOT,
        f"UPDATE statistics SET value = value + 1 WHERE counter = '{scope}_{name}'",
    )

    (text,) = texts(bench)

    assert text.startswith(f"/: catalog counter {scope}_{name} is ")


def test_the_check_goes_on_after_the_first_finding(bench: Workbench) -> None:
    for damage in DAMAGES:
        if damage.name in (
            "the whitelist is of another repository",
            "the catalog of a tag is not there",
            "a file has no links",
            "the rows of a mountpoint differ in owner",
        ):
            damage.do(bench)

    assert [text.split(": ")[0] for text in texts(bench)] == [
        ".cvmfswhitelist",
        "tag trunk-previous",
        "/image/file",
        "/shelf/other",
    ]


def test_rows_without_a_place_are_told_as_well_as_they_can_be(
    bench: Workbench,
) -> None:
    bench.edit_catalog(
        IMAGE, f"UPDATE catalog SET parent_1 = 5, uid = -1 {at('/image/empty')}"
    )
    bench.edit_catalog(
        ROOT,
        f"UPDATE catalog SET {key_of('/image/latest')}, {parent_of('/image')},"
        f" uid = -1 {at('/latest')}",
        f"UPDATE catalog SET uid = -1 {at('')}",
    )

    assert texts(bench) == [
        "/: column uid holds -1",
        "/image/latest: column uid holds -1",
        "/image/.../empty: column uid holds -1",
    ]


def test_path_keys_that_lead_in_circles_are_followed_once(bench: Workbench) -> None:
    bench.edit_catalog(
        IMAGE,
        f"UPDATE catalog SET md5path_1 = md5path_1 + 1 {at(DIRECTORY)}",
        f"UPDATE catalog SET {key_of(DIRECTORY)} {at(DEEP)}",
    )

    found = texts(bench)

    assert f"{DIRECTORY}: is there twice: the name is taken already" in found
    assert f"{DEEP}: is filed under the path key of another path" in found


def test_numbers_that_no_sum_can_hold_are_a_finding(bench: Workbench) -> None:
    bench.edit_catalog(OTHER, f"UPDATE catalog SET size = {2**62}")

    assert "/shelf/other: catalog cannot be examined: database: integer overflow" in (
        texts(bench)
    )


# What is unusual but sound


def test_catalogs_of_older_revisions_of_the_schema_are_sound(bench: Workbench) -> None:
    bench.edit_catalog(ROOT, "UPDATE catalog SET mtimens = NULL")
    bench.edit_catalog(b"/shelf", "UPDATE catalog SET mtimens = NULL")
    bench.edit_catalog(
        OTHER,
        "ALTER TABLE catalog DROP COLUMN mtimens",
        "ALTER TABLE catalog DROP COLUMN xattr",
        "ALTER TABLE nested_catalogs DROP COLUMN size",
        "DROP TABLE bind_mountpoints",
        "DELETE FROM statistics WHERE counter LIKE '%_xattr'"
        " OR counter LIKE '%_external%' OR counter LIKE '%_special'",
        "UPDATE properties SET value = '0' WHERE key = 'schema_revision'",
    )
    bench.edit_catalog(IMAGE, "UPDATE catalog SET mtimens = NULL")

    assert texts(bench) == []


def test_a_history_from_before_there_were_branches_is_sound(bench: Workbench) -> None:
    bench.edit_history(
        "DROP TABLE branches",
        "UPDATE properties SET value = '2' WHERE key = 'schema_revision'",
    )

    assert texts(bench) == []


def test_a_bind_mountpoint_is_sound(bench: Workbench) -> None:
    bench.edit_catalog(ROOT, *BOUND, BIND)
    bench.count(ROOT, symlink=-1, dir=1)

    assert texts(bench, contents=True) == []


def test_an_external_file_needs_no_object(bench: Workbench) -> None:
    bench.edit_catalog(IMAGE, f"UPDATE catalog SET flags = flags | 128 {at(FILE)}")
    bench.count(IMAGE, external=1, external_file_size=10)
    del bench.files[ContentHash.of(pack(b"some bytes")).path(Kind.BULK)]

    assert texts(bench, contents=True) == []


def test_second_names_that_are_promised_and_there_are_sound(bench: Workbench) -> None:
    bench.sign(has_alternative_names=True)
    manifest = bench.manifest
    bench.files[f".cvmfsalt-{manifest.certificate}X"] = b""
    bench.files[f".cvmfsalt-{manifest.root_catalog}C"] = b""

    assert texts(bench) == []


def test_a_repository_may_do_without_history_description_and_reflog(
    bench: Workbench,
) -> None:
    bench.sign(history=None, metainfo=None, reflog=None)
    del bench.files[REFLOG]

    assert texts(bench) == []


def test_a_checksum_that_is_given_counts_more_than_the_manifests(
    bench: Workbench,
) -> None:
    checksum = bench.manifest.reflog
    bench.sign(reflog=ContentHash(b"x" * 20))

    assert bench.check(reflog_checksum=checksum) == []
    bench.sign(reflog=checksum)
    (finding,) = bench.check(reflog_checksum=ContentHash(b"x" * 20))
    assert finding.where == ".cvmfsreflog"


def test_one_public_key_that_fits_is_enough(bench: Workbench) -> None:
    stranger = KeyRing.generate(FQRN, now=NOW).public_key
    ours = keys().public_key

    assert list(check(bench.storage, FQRN, [stranger, ours], now=NOW)) == []
    (finding,) = check(bench.storage, FQRN, [], now=NOW)
    assert finding.what == "there is no public key to verify it with"


# How findings read


def test_a_finding_is_one_line_whatever_the_names_are(bench: Workbench) -> None:
    odd = "/image/directory/odd\\xe9\\n"
    bench.edit_catalog(
        IMAGE, "UPDATE catalog SET uid = -1 WHERE instr(name, char(10)) > 0"
    )

    assert texts(bench) == [f"{odd}: column uid holds -1"]


def test_the_progress_only_grows_and_ends_with_all_there_is(bench: Workbench) -> None:
    told: list[CheckProgress] = []

    bench.check(contents=True, tell=told.append)

    assert all(
        old <= new
        for before, after in itertools.pairwise(told)
        for old, new in zip(before, after, strict=True)
    )
    assert told[-1].catalogs == 4
    assert told[-1].entries == 28
    assert told[-1].objects == 21
    assert told[-1].bytes > 1000


# Any bytes at all


def test_a_database_whose_tables_have_no_readable_name_is_a_finding(
    bench: Workbench,
) -> None:
    damage = (
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = CAST(x'43524541544520ff' AS TEXT)",
    )
    bench.edit_catalog(OTHER, *damage)
    bench.edit_reflog(*damage)

    first, second = texts(bench)
    assert first.startswith(".cvmfsreflog: database: ")
    assert second.startswith("/shelf/other: catalog cannot be read: database: ")


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
        [ROOT, IMAGE, OTHER, MANIFEST, WHITELIST, REFLOG, "history", "certificate"]
    ),
)
def test_whatever_the_bytes_are_the_check_ends_and_raises_nothing(
    change: Change, what: bytes | str
) -> None:
    bench = sound()
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
