"""Mistakes in the reflog and in the history."""

from tests.support.damage.damage import Damage, change_manifest
from tests.support.damage.editable_repository import EditableRepository
from tests.support.repositories.repository_builders import NOW
from workers.cvmfs.storage.storage import REFLOG
from workers.cvmfs.values.hash import ContentHash, Kind


def change_reflog(
    name: str, statement: str, *found: str, stock: bool | None = True
) -> Damage:
    """Return the damage of changing the reflog."""
    return Damage(name, lambda bench: bench.edit_reflog(statement), found, stock)


def _stale_reflog(bench: EditableRepository) -> None:
    before = bench.manifest.reflog
    bench.edit_reflog(f"UPDATE refs SET timestamp = {NOW + 9}")
    bench.sign(reflog=before)


def _no_reflog(bench: EditableRepository) -> None:
    del bench.files[REFLOG]


def _garbage_reflog(bench: EditableRepository) -> None:
    bench.files[REFLOG] = b"not a database"
    bench.sign(reflog=ContentHash.of(bench.files[REFLOG]))


REFERENCES = (
    Damage("the reflog has another hash", _stale_reflog, (".cvmfsreflog: has hash",)),
    Damage(
        "the reflog is missing",
        _no_reflog,
        (".cvmfsreflog: is missing; its hash must be",),
        stock=False,
    ),
    Damage(
        "the reflog is no database",
        _garbage_reflog,
        (".cvmfsreflog: database is not an SQLite database",),
        stock=None,
    ),
    change_manifest(
        "the reflog has no checksum",
        ".cvmfsreflog: has no checksum",
        stock=True,
        reflog=None,
    ),
    change_reflog(
        "the reflog is of another schema",
        "UPDATE properties SET value = '1' WHERE key = 'schema_revision'",
        ".cvmfsreflog: has schema_revision '1', not '0'",
        stock=None,
    ),
    change_reflog(
        "the reflog is of another repository",
        "UPDATE properties SET value = 'other' WHERE key = 'fqrn'",
        ".cvmfsreflog: has fqrn 'other', not 'test.example.org'",
        stock=False,
    ),
    change_reflog(
        "the reflog does not list its certificate",
        "DELETE FROM refs WHERE type = 1",
        ".cvmfsreflog: does not list data/",
    ),
    change_reflog(
        "the reflog does not list its description",
        "DELETE FROM refs WHERE type = 3",
        ".cvmfsreflog: does not list data/",
    ),
    change_reflog(
        "the reflog does not list the history",
        "DELETE FROM refs WHERE type = 2",
        ".cvmfsreflog: does not list data/",
    ),
    change_reflog(
        "the reflog does not list the root catalog",
        "DELETE FROM refs WHERE type = 0",
        ".cvmfsreflog: does not list data/",
    ),
    change_reflog(
        "the reflog lists a catalog that is not there",
        f"INSERT INTO refs VALUES ('{'5a' * 20}', 0, {NOW})",
        ".cvmfsreflog: object data/5a/",
        stock=False,
    ),
    change_reflog(
        "the reflog lists nonsense",
        "INSERT INTO refs VALUES ('nonsense', 0, 0)",
        ".cvmfsreflog: lists (b'nonsense', 0, 0)",
        stock=False,
    ),
    change_reflog(
        "the reflog has no references",
        "DROP TABLE refs",
        ".cvmfsreflog: has no table refs",
        stock=None,
    ),
    change_reflog(
        "the reflog has no properties",
        "DROP TABLE properties",
        ".cvmfsreflog: has no table properties",
        stock=None,
    ),
)


def change_history(
    name: str, statement: str, *found: str, stock: bool | None = True
) -> Damage:
    """Return the damage of changing the history."""
    return Damage(name, lambda bench: bench.edit_history(statement), found, stock)


def _no_history(bench: EditableRepository) -> None:
    old = bench.manifest.history
    assert old is not None
    del bench.files[old.path(Kind.HISTORY)]


HISTORY = (
    Damage(
        "the history is missing", _no_history, (".cvmfsreflog: object data/", "data/")
    ),
    change_history(
        "there are no tags",
        "DELETE FROM tags",
        "data/",
    ),
    change_history(
        "a tag is of a branch that does not exist",
        "UPDATE tags SET branch = 'gone' WHERE name = 'trunk'",
        "tag trunk: is in the branch b'gone', which does not exist",
    ),
    change_history(
        "a tag is older than its branch",
        "UPDATE branches SET initial_revision = 3",
        "data/",
    ),
    change_history(
        "a branch has an impossible name",
        "INSERT INTO branches VALUES ('a b', '', 0)",
        "data/",
        "data/",
    ),
    change_history(
        "the history does not say of which repository it is",
        "DELETE FROM properties WHERE key = 'fqrn'",
        "data/",
    ),
    change_history(
        "the history does not say what came before",
        "DELETE FROM properties WHERE key = 'previous_revision'",
        "data/",
        stock=False,
    ),
    change_history(
        "the history has no tags at all",
        "DROP TABLE tags",
        "data/",
        stock=None,
    ),
    change_history(
        "the catalog of a tag is not there",
        f"UPDATE tags SET hash = '{'5a' * 20}' WHERE name = 'trunk-previous'",
        "tag trunk-previous: object data/5a/",
        stock=False,
    ),
    change_history(
        "a tag has no hash",
        "UPDATE tags SET hash = 'none' WHERE name = 'trunk-previous'",
        "tag trunk-previous: has the hash b'none'",
        stock=None,
    ),
    change_history(
        "a tag has no number",
        "UPDATE tags SET revision = 'first' WHERE name = 'trunk-previous'",
        "tag trunk-previous: has revision b'first' and size",
        stock=False,
    ),
)
