import hashlib
import os
import sqlite3
import stat
import zlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.repositories.independent_audit import (
    audit,
    manifest_fields,
    stored_object,
)
from tests.support.repositories.repository_builders import (
    FQRN,
    NOW,
    directory,
    keys,
    new_repository,
    small_tree,
)
from workers.cvmfs import (
    GraftTree,
    KeyRing,
    LocalStorage,
    PutLink,
    Repository,
    Tree,
)
from workers.cvmfs.errors import (
    Damaged,
    FormatError,
    InvalidKeys,
    Malformed,
    NotFound,
    NotTrusted,
    RepositoryBusy,
    RepositoryExists,
    WhitelistExpired,
)

DAY = 24 * 3600
PLACE = b"/.flat/ab/abcdef"
LINK = PutLink(b"/link", b"target")


def snapshot_of_files(base: Path) -> dict[str, tuple[int, int]]:
    return {
        os.fspath(path): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in base.rglob("*")
        if path.is_file() and path.name != "publish.lock"
    }


def raw_reflog(base: Path) -> dict[str, int]:
    connection = sqlite3.connect(":memory:")
    connection.deserialize((base / ".cvmfsreflog").read_bytes())
    rows = dict(connection.execute("SELECT hash, type FROM refs"))
    connection.close()
    return rows


def with_other_repository_key() -> KeyRing:
    """Return our master key, with a repository key that nobody knows."""
    other = keys("other.example.org").files()
    ours = {suffix: keys().files()[suffix] for suffix in (".pub", ".masterkey")}
    return KeyRing.of_files(FQRN, {**other, **ours})


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def test_a_new_repository_has_all_that_a_good_citizen_has(
    repository: Repository, tmp_path: Path
) -> None:
    found = audit(tmp_path)
    assert found.modes == {b"": stat.S_IFDIR | 0o755}
    assert "".join(found.fields) == "CBRDSGANXHTMY"
    assert found.fields["N"] == FQRN
    assert found.fields["S"] == "1"
    assert found.fields["D"] == "60"
    assert found.fields["G"] == "yes"
    assert found.fields["T"] == str(NOW)
    assert len(list((tmp_path / "data").iterdir())) == 257
    assert (tmp_path / ".cvmfs_master_replica").stat().st_size > 0
    assert (tmp_path / "data/e8" / "ec3d88b62ebf526e4e5a4ff6162a3aa48a6b78").exists()
    assert stored_object(tmp_path, found.fields["X"], "X") == keys().certificate_pem
    assert b'"description"' in stored_object(tmp_path, found.fields["M"], "M")
    der = keys().certificate.public_bytes(Encoding.DER)
    text = ":".join(f"{byte:02X}" for byte in hashlib.sha1(der).digest())
    assert text.encode() in (tmp_path / ".cvmfswhitelist").read_bytes()


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


def test_a_repository_is_made_once(repository: Repository, tmp_path: Path) -> None:
    before = snapshot_of_files(tmp_path)
    with pytest.raises(RepositoryExists):
        new_repository(tmp_path)
    assert snapshot_of_files(tmp_path) == before


def test_a_repository_is_opened_with_its_keys(
    repository: Repository, tmp_path: Path
) -> None:
    keys().save(tmp_path / "keys")
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


def test_time_and_revision_never_go_back(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit([LINK], now=NOW + 1000)
    back = repository.commit([PutLink(b"/link", b"b")], now=NOW + 10)
    assert back.timestamp == NOW + 1000
    assert back.number == 3
    assert repository.read().root_catalog.last_modified <= back.timestamp
    audit(tmp_path)


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


def test_an_expired_whitelist_stops_commits_until_it_is_renewed(
    repository: Repository, tmp_path: Path
) -> None:
    late = NOW + 31 * DAY
    before = snapshot_of_files(tmp_path)
    with pytest.raises(WhitelistExpired):
        repository.commit([LINK], now=late)
    assert snapshot_of_files(tmp_path) == before
    assert repository.read().lookup(b"/link") is None
    assert repository.renew_whitelist(now=late).is_valid_at(late + 29 * DAY)
    assert repository.whitelist().is_valid_at(late + 29 * DAY)
    assert repository.commit([LINK], now=late).is_new
    audit(tmp_path)


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


@pytest.mark.parametrize("damage", ["ahead", "missing", "junk", "of another"])
@pytest.mark.parametrize("changes", [[], [PutLink(b"/link", b"new")]])
def test_the_next_commit_repairs_the_reflog_whatever_it_does_otherwise(
    repository: Repository, tmp_path: Path, damage: str, changes: list[PutLink]
) -> None:
    for number in range(3):
        repository.commit([PutLink(b"/link", b"%d" % number)], now=NOW + number)
    before = raw_reflog(tmp_path)
    roots = {digest for digest, kind in before.items() if kind == 0}
    path = tmp_path / ".cvmfsreflog"
    if damage == "ahead":
        connection = sqlite3.connect(path)
        connection.execute("INSERT INTO refs VALUES (?, 0, 5)", ("ab" * 20,))
        connection.commit()
        connection.close()
        roots.add("ab" * 20)
    elif damage == "missing":
        path.unlink()
    elif damage == "junk":
        path.write_bytes(b"junk")
    else:
        connection = sqlite3.connect(path)
        connection.execute("UPDATE properties SET value='x' WHERE key='fqrn'")
        connection.commit()
        connection.close()
    revision = repository.commit(changes, now=NOW + 10)
    assert revision.is_new is bool(changes)
    assert revision.number == 4 + bool(changes)
    found = audit(tmp_path)
    assert found.fields["S"] == str(revision.number)
    after = raw_reflog(tmp_path)
    assert roots <= {digest for digest, kind in after.items() if kind == 0}
    again = snapshot_of_files(tmp_path)
    assert not repository.commit([], now=NOW + 11).is_new
    assert snapshot_of_files(tmp_path) == again


def test_a_repository_without_history_gets_one(
    repository: Repository, tmp_path: Path
) -> None:
    history = manifest_fields(tmp_path)["H"]
    text = (tmp_path / ".cvmfspublished").read_bytes().split(b"--\n")[0]
    text = b"".join(
        line for line in text.splitlines(keepends=True) if line[:1] not in b"HMY"
    )
    digest = hashlib.sha1(text).hexdigest().encode()
    signature = keys().repository_key.sign(digest, padding.PKCS1v15(), hashes.SHA1())
    (tmp_path / ".cvmfspublished").write_bytes(
        text + b"--\n" + digest + b"\n" + signature
    )
    (tmp_path / ".cvmfsreflog").unlink()
    assert repository.tags() == []
    repository.commit([LINK], now=NOW)
    assert [tag.name for tag in repository.tags()] == ["trunk"]
    assert manifest_fields(tmp_path)["H"] != history
    assert len([k for k in raw_reflog(tmp_path).values() if k == 0]) == 2


def test_a_damaged_head_stops_a_commit_and_changes_nothing(
    repository: Repository, tmp_path: Path
) -> None:
    fields = manifest_fields(tmp_path)
    digest = fields["C"]
    path = tmp_path / "data" / digest[:2] / (digest[2:] + "C")
    stored = path.read_bytes()
    path.write_bytes(stored[:-1] + b"\0")
    before = snapshot_of_files(tmp_path)
    with pytest.raises(Damaged):
        repository.commit([LINK], now=NOW)
    assert snapshot_of_files(tmp_path) == before
    path.write_bytes(stored)
    (tmp_path / ".cvmfspublished").write_bytes(b"junk")
    with pytest.raises(FormatError):
        repository.commit([LINK], now=NOW)


def test_the_catalog_of_a_prepared_tree_must_still_be_there(
    repository: Repository, tmp_path: Path
) -> None:
    prepared = repository.prepare(PLACE, Tree(directory()))
    digest = str(prepared.hash)
    (tmp_path / "data" / digest[:2] / (digest[2:] + "C")).unlink()
    with pytest.raises(NotFound, match="is gone"):
        repository.commit([GraftTree(PLACE, prepared)], now=NOW)
    assert repository.head().revision == 1
