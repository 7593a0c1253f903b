"""What readers start from is signed, complete and of this repository."""

import pytest

from tests.support.damage.damage import Damage, found_as_promised
from tests.support.damage.editable_repository import EditableRepository
from tests.support.damage.objects_and_published import PUBLISHED
from tests.support.repositories.repository_builders import FQRN, NOW, keys
from workers.cvmfs.checking.check import check
from workers.cvmfs.signing.keys import KeyRing


@pytest.mark.slow
@pytest.mark.parametrize("damage", PUBLISHED, ids=lambda damage: damage.name)
def test_each_damage_to_what_is_published_is_found_and_nothing_else(
    damage: Damage,
) -> None:
    found_as_promised(damage)


def test_second_names_that_are_promised_and_there_are_sound(
    bench: EditableRepository,
) -> None:
    bench.sign(has_alternative_names=True)
    manifest = bench.manifest
    bench.files[f".cvmfsalt-{manifest.certificate}X"] = b""
    bench.files[f".cvmfsalt-{manifest.root_catalog}C"] = b""

    assert bench.told() == []


def test_one_public_key_that_fits_is_enough(bench: EditableRepository) -> None:
    stranger = KeyRing.generate(FQRN, now=NOW).public_key
    ours = keys().public_key

    assert list(check(bench.storage, FQRN, [stranger, ours], now=NOW)) == []
    (finding,) = check(bench.storage, FQRN, [], now=NOW)
    assert finding.what == "there is no public key to verify it with"
