import hashlib
import zlib
from pathlib import Path

import pytest

from tests.support.repositories.independent_audit import (
    audit,
    manifest_fields,
    raw_reflog,
    snapshot_of_files,
)
from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    keys,
    new_repository,
    save_keys,
    small_tree,
)
from workers.cvmfs import (
    GraftTree,
    KeyRing,
    LocalStorage,
    PutLink,
    Repository,
)
from workers.cvmfs.errors import (
    InvalidKeys,
    Malformed,
    NotFound,
    NotTrusted,
    RepositoryBusy,
)

PLACE = b"/.flat/ab/abcdef"
LINK = PutLink(b"/link", b"target")


def with_other_repository_key() -> KeyRing:
    """Return our master key, with a repository key that nobody knows."""
    other = keys("other.example.org").files()
    ours = {suffix: keys().files()[suffix] for suffix in (".pub", ".masterkey")}
    return KeyRing.of_files(FQRN, {**other, **ours})


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def test_an_object_is_named_by_its_own_stored_bytes(
    repository: Repository, tmp_path: Path
) -> None:
    repository.prepare(PLACE, small_tree(repository.sink))
    objects = list((tmp_path / "data").glob("??/*"))
    assert len(objects) > 10
    for path in objects:
        digest = hashlib.sha1(path.read_bytes()).hexdigest()
        assert path.parent.name + path.name.rstrip("CHXMP") == digest
        zlib.decompress(path.read_bytes())


def test_a_repository_is_opened_with_its_keys(
    repository: Repository, tmp_path: Path
) -> None:
    save_keys(keys(), tmp_path / "keys")
    opened = Repository.open(FQRN, LocalStorage(tmp_path), tmp_path / "keys")
    assert opened.head() == repository.head()
    with pytest.raises(InvalidKeys):
        Repository.open(FQRN, LocalStorage(tmp_path), tmp_path / "nowhere")
    with pytest.raises(NotFound):
        Repository.open(FQRN, LocalStorage(tmp_path / "no"), tmp_path / "keys")
    with pytest.raises(Malformed):
        Repository("..", LocalStorage(tmp_path), keys())
    with pytest.raises(InvalidKeys):
        Repository("other.example.org", LocalStorage(tmp_path), keys())


def test_a_repository_signed_by_somebody_else_is_not_trusted(tmp_path: Path) -> None:
    new_repository(tmp_path)
    stranger = keys("other.example.org").files()
    ring = KeyRing.of_files(FQRN, stranger)
    with pytest.raises(NotTrusted):
        Repository(FQRN, LocalStorage(tmp_path), ring).head()
    impostor = Repository(FQRN, LocalStorage(tmp_path), with_other_repository_key())
    assert impostor.head().revision == 1
    with pytest.raises(NotTrusted, match="does not name the certificate"):
        impostor.commit([LINK], now=NOW)


def test_a_commit_makes_one_new_revision(
    repository: Repository, tmp_path: Path
) -> None:
    first = manifest_fields(tmp_path)
    prepared = repository.prepare(PLACE, small_tree(repository.sink))
    assert manifest_fields(tmp_path) == first
    revision = repository.commit([GraftTree(PLACE, prepared), LINK], now=NOW + 9)
    found = audit(tmp_path)
    assert revision.is_new
    assert revision.number == 2
    assert str(revision.root_catalog) == found.fields["C"]
    assert revision.timestamp == NOW + 9 == int(found.fields["T"])
    assert found.fields["S"] == "2"
    assert found.contents[PLACE + b"/hello"] == b"hello"
    assert raw_reflog(tmp_path)[first["C"]] == 0
    assert raw_reflog(tmp_path)[first["H"]] == 2
    catalog = repository.read().root_catalog
    assert catalog.previous_revision is not None
    assert str(catalog.previous_revision) == first["C"]
    assert catalog.last_modified == NOW + 9


def test_tags_follow_the_newest_two_revisions(repository: Repository) -> None:
    assert [(tag.name, tag.revision) for tag in repository.tags()] == [("trunk", 1)]
    for number in range(2, 5):
        repository.commit([PutLink(b"/link", b"%d" % number)], now=NOW + number)
        head = repository.head()
        trunk, previous = repository.tags()
        assert (trunk.name, previous.name) == ("trunk", "trunk-previous")
        assert trunk.root_catalog == head.root_catalog
        assert trunk.root_catalog_size == head.root_catalog_size
        assert (trunk.revision, previous.revision) == (number, number - 1)
        assert trunk.timestamp == NOW + number


def test_a_commit_that_changes_nothing_writes_nothing(
    repository: Repository, tmp_path: Path
) -> None:
    def changes() -> list[GraftTree | PutLink]:
        prepared = repository.prepare(PLACE, small_tree(repository.sink))
        return [GraftTree(PLACE, prepared), LINK]

    first = repository.commit(changes(), now=NOW)
    before = snapshot_of_files(tmp_path)
    second = repository.commit(changes(), now=NOW + 100)
    assert not second.is_new
    assert second.number == first.number
    assert second.root_catalog == first.root_catalog
    assert repository.commit([], now=NOW + 100) == second
    assert snapshot_of_files(tmp_path) == before


def test_the_ttl_is_the_same_for_clients_and_in_the_manifest(
    repository: Repository, tmp_path: Path
) -> None:
    storage = LocalStorage(tmp_path)
    Repository(FQRN, storage, keys()).commit([LINK], now=NOW)
    assert audit(tmp_path).fields["D"] == "60"
    Repository(FQRN, storage, keys(), ttl=15).commit([PutLink(b"/link", b"b")], now=NOW)
    assert audit(tmp_path).fields["D"] == "15"


def test_a_commit_waits_for_the_lock(repository: Repository, tmp_path: Path) -> None:
    impatient = Repository(FQRN, LocalStorage(tmp_path, patience_seconds=0), keys())
    with LocalStorage(tmp_path).lock(), pytest.raises(RepositoryBusy):
        impatient.commit([LINK], now=NOW)
    assert impatient.commit([LINK], now=NOW).number == 2


def test_two_writers_take_turns_and_neither_is_lost(tmp_path: Path) -> None:
    one = new_repository(tmp_path)
    other = Repository(FQRN, LocalStorage(tmp_path), keys())
    prepared = one.prepare(PLACE, small_tree(one.sink))
    other.commit([PutLink(b"/other", b"x")], now=NOW)
    one.commit([GraftTree(PLACE, prepared)], now=NOW)
    found = audit(tmp_path)
    assert found.fields["S"] == "3"
    assert b"/other" in found.modes
    assert PLACE + b"/hello" in found.modes


def test_renewing_takes_the_master_key_and_keeps_other_certificates(
    repository: Repository, tmp_path: Path
) -> None:
    files = keys().files()
    del files[".masterkey"]
    without = Repository(FQRN, LocalStorage(tmp_path), KeyRing.of_files(FQRN, files))
    with pytest.raises(InvalidKeys, match="master key"):
        without.renew_whitelist(now=NOW)
    assert without.commit([LINK], now=NOW).is_new
    with pytest.raises(InvalidKeys, match="master key"):
        Repository.create(
            FQRN, LocalStorage(tmp_path / "new"), KeyRing.of_files(FQRN, files), now=NOW
        )
    rotated = with_other_repository_key()
    successor = Repository(FQRN, LocalStorage(tmp_path), rotated)
    assert len(successor.renew_whitelist(now=NOW).fingerprints) == 2
    assert successor.commit([PutLink(b"/link", b"b")], now=NOW).is_new
    assert repository.commit([PutLink(b"/link", b"c")], now=NOW).is_new
    audit(tmp_path)
