"""Mistakes in objects, and in what is published beside the catalogs."""

from collections.abc import Callable

from tests.support.damage.damage import (
    BARE,
    FILE,
    LARGE,
    Damage,
    change_manifest,
    change_row,
    where_path,
)
from tests.support.damage.editable_repository import IMAGE, INNER, EditableRepository
from tests.support.repositories.repository_builders import FQRN, NOW, keys
from workers.cvmfs.objects.objects import pack
from workers.cvmfs.signing.keys import KeyRing
from workers.cvmfs.signing.whitelist import fingerprint, write_whitelist
from workers.cvmfs.storage.storage import MANIFEST, WHITELIST
from workers.cvmfs.values.hash import ContentHash, Kind


def _remove(
    data: bytes, kind: Kind = Kind.BULK
) -> Callable[[EditableRepository], None]:
    def do(bench: EditableRepository) -> None:
        del bench.files[ContentHash.of(pack(data)).path(kind)]

    return do


def _replace(data: bytes, other: bytes) -> Callable[[EditableRepository], None]:
    def do(bench: EditableRepository) -> None:
        bench.files[ContentHash.of(pack(data)).path(Kind.BULK)] = pack(other)

    return do


def _store_as(change: Callable[[bytes], bytes]) -> Callable[[EditableRepository], None]:
    def do(bench: EditableRepository) -> None:
        digest = bench.store(change(pack(b"some bytes")), Kind.BULK).digest.hex()
        bench.edit_catalog(
            IMAGE, f"UPDATE catalog SET hash = x'{digest}' {where_path(FILE)}"
        )

    return do


def _lose_catalog(bench: EditableRepository) -> None:
    del bench.files[bench.catalog_name(INNER)]


def _break_catalog(bench: EditableRepository) -> None:
    name = bench.catalog_name(INNER)
    bench.files[name] = bench.files[name][:-9]


def _swap_catalogs(bench: EditableRepository) -> None:
    bench.files[bench.catalog_name(INNER)] = bench.files[bench.catalog_name(IMAGE)]


def _no_database(bench: EditableRepository) -> None:
    bench.replace_catalog(INNER, lambda _: b"not a database")


OBJECTS = (
    Damage(
        "the object of a file is missing",
        _remove(b"some bytes"),
        (f"{FILE}: object data/",),
    ),
    Damage(
        "the object of a chunk is missing",
        _remove(b"second", Kind.PARTIAL),
        (f"{LARGE}: object data/",),
    ),
    Damage(
        "an object has other bytes than its name says",
        _replace(b"some bytes", b"same bytes"),
        (f"{FILE}: object data/",),
        stock=False,
        in_contents=True,
    ),
    change_row(
        "a file is compressed although its row says no",
        FILE,
        "flags = 2052",
        f"{FILE}: object data/",
        stock=False,
        in_contents=True,
    ),
    change_row(
        "a file is not compressed although its row says so",
        BARE,
        "flags = 4",
        f"{BARE}: object data/",
        stock=False,
        in_contents=True,
    ),
    change_row(
        "a file has another size than its row says",
        FILE,
        "size = 11",
        f"{FILE}: object data/",
        stock=False,
        in_contents=True,
        file_size=1,
    ),
    Damage(
        "an object is cut short",
        _store_as(lambda stored: stored[:-3]),
        (f"{FILE}: object data/",),
        stock=False,
        in_contents=True,
    ),
    Damage(
        "an object has more bytes than it should",
        _store_as(lambda stored: stored + b"more"),
        (f"{FILE}: object data/",),
        stock=False,
        in_contents=True,
    ),
    Damage(
        "the object of a catalog is missing",
        _lose_catalog,
        ("/shelf/other: catalog data/",),
    ),
    Damage(
        "the object of a catalog is cut short",
        _break_catalog,
        ("/shelf/other: catalog data/",),
    ),
    Damage(
        "the object of a catalog is another catalog's",
        _swap_catalogs,
        ("/shelf/other: catalog data/",),
    ),
    Damage(
        "a catalog is no database",
        _no_database,
        ("/shelf/other: catalog cannot be opened: database is not an SQLite database",),
        stock=None,
    ),
)


def _retitle(bench: EditableRepository) -> None:
    bench.files[MANIFEST] = bench.files[MANIFEST].replace(b"\nGyes\n", b"\nGno\n")


def _sign_by_stranger(bench: EditableRepository) -> None:
    stranger = KeyRing.generate(FQRN, now=NOW)
    bench.files[MANIFEST] = bench.manifest.sign(stranger.repository_key)


def _garbage_manifest(bench: EditableRepository) -> None:
    bench.files[MANIFEST] = b"C\n--\n"


def _no_certificate(bench: EditableRepository) -> None:
    del bench.files[bench.manifest.certificate.path(Kind.CERTIFICATE)]


def _garbage_certificate(bench: EditableRepository) -> None:
    digest = bench.put(b"a certificate", Kind.CERTIFICATE)
    bench.edit_reflog(f"INSERT INTO refs VALUES ('{digest}', 1, {NOW})")
    bench.sign(certificate=digest)


def _whitelist(
    fqrn: str = FQRN,
    names: Callable[[], ContentHash] = lambda: fingerprint(keys().certificate),
    *,
    now: int = NOW,
    is_ours: bool = True,
) -> Callable[[EditableRepository], None]:
    def do(bench: EditableRepository) -> None:
        ring = keys() if is_ours else KeyRing.generate(FQRN, now=NOW)
        assert ring.master_key is not None
        bench.files[WHITELIST] = write_whitelist(
            fqrn, [names()], ring.master_key, now=now
        )

    return do


def _no_whitelist(bench: EditableRepository) -> None:
    del bench.files[WHITELIST]


def _no_manifest(bench: EditableRepository) -> None:
    del bench.files[MANIFEST]


def _no_metainfo(bench: EditableRepository) -> None:
    metainfo = bench.manifest.metainfo
    assert metainfo is not None
    del bench.files[metainfo.path(Kind.METAINFO)]


PUBLISHED = (
    Damage("there is no manifest", _no_manifest, (".cvmfspublished: no ",)),
    Damage(
        "the manifest is unreadable",
        _garbage_manifest,
        (".cvmfspublished: not a signed file",),
    ),
    Damage(
        "the manifest was changed after it was signed",
        _retitle,
        (".cvmfspublished: manifest: its text does not have the hash",),
    ),
    Damage(
        "the manifest was signed by a stranger",
        _sign_by_stranger,
        (".cvmfspublished: manifest: not signed with its certificate's key",),
    ),
    Damage(
        "the manifest is of another repository",
        lambda bench: bench.sign(fqrn="other.example.org"),
        (".cvmfspublished: is of 'other.example.org', not test.example.org",),
    ),
    change_manifest(
        "the manifest is older than its root catalog",
        f".cvmfspublished: has T{NOW} but its root catalog is from {NOW + 2}",
        stock=False,
        timestamp=NOW,
    ),
    change_manifest(
        "the manifest has another time to live than clients use",
        ".cvmfspublished: has D99 but the root catalog has TTL 240",
        stock=False,
        ttl=99,
    ),
    change_manifest(
        "the manifest has another revision than its root catalog",
        "tag trunk: has revision 3, its catalog is 9",
        ".cvmfspublished: has S9 but the root catalog has revision 3",
        stock=False,
        revision=9,
    ),
    change_manifest(
        "the manifest has another size of the root catalog",
        "/: catalog data/",
        stock=True,
        root_catalog_size=99,
    ),
    change_manifest(
        "the manifest promises second names that are not there",
        ".cvmfsalt-",
        ".cvmfsalt-",
        stock=True,
        has_alternative_names=True,
    ),
    Damage(
        "the certificate is missing",
        _no_certificate,
        ("data/", ".cvmfsreflog: object data/"),
        stock=True,
    ),
    Damage("the certificate is none", _garbage_certificate, ("data/",), stock=True),
    Damage("the whitelist is missing", _no_whitelist, (".cvmfswhitelist: no ",)),
    Damage(
        "the whitelist has expired",
        _whitelist(now=NOW - 40 * 86400),
        (".cvmfswhitelist: whitelist of test.example.org expired at",),
        stock=None,  # it asks a clock that is not the test's
    ),
    Damage(
        "the whitelist is signed by a stranger",
        _whitelist(is_ours=False),
        (".cvmfswhitelist: whitelist: not signed with the master key",),
    ),
    Damage(
        "the whitelist is of another repository",
        _whitelist("other.example.org"),
        (".cvmfswhitelist: whitelist is for 'other.example.org'",),
    ),
    Damage(
        "the whitelist does not name the certificate",
        _whitelist(names=lambda: ContentHash(b"x" * 20)),
        (".cvmfswhitelist: whitelist does not name the certificate",),
    ),
    Damage(
        "the description is missing",
        _no_metainfo,
        ("data/", ".cvmfsreflog: object data/"),
    ),
)
