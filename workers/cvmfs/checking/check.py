"""Find everything that is wrong with a repository, as ``cvmfs_swissknife check`` does.

And what that does not look for: objects that are not what their names say, rows whose
size or compression is not their object's, names filed under another path's key,
unreadable extended attributes, a clock or a TTL that keeps clients from following, and
history that is listed but gone. The check goes on after the first finding, needs no
key but the public one, writes nothing, and holds one catalog in memory at a time.

The parts are in ``checking/``; what each looks for is in its own file:

- ``published``: manifest, certificate, signatures, whitelist;
- ``references``: reflog and history;
- ``catalogs``: all catalogs, by ``tables``, ``rules``, ``entries`` and ``mounts``;
- ``proving``: the objects that all of these name.

A commit that replaces the manifest meanwhile is no harm, since everything but reflog
and whitelist is reached from the manifest read at the start; a garbage collection is.
Whoever wants neither to be taken for damage holds the storage's lock.

Source: cvmfs/swissknife_check.cc; cvmfs-format.md sections 3.8 and 6.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from cryptography.hazmat.primitives.asymmetric import rsa

from workers.cvmfs.catalog.reader import NestedCatalog
from workers.cvmfs.catalog.schema import DEFAULT_TTL_SECONDS
from workers.cvmfs.checking.catalogs import examine_catalogs
from workers.cvmfs.checking.finding import CheckProgress, Finding, Findings, Tell
from workers.cvmfs.checking.integrity import number
from workers.cvmfs.checking.proving import Proven, Prover
from workers.cvmfs.checking.published import (
    examine_alternative_names,
    examine_manifest,
    examine_trust,
)
from workers.cvmfs.checking.references import examine_history, examine_reflog
from workers.cvmfs.errors import FormatError
from workers.cvmfs.objects.objects import get_object
from workers.cvmfs.signing.manifest import RepositoryManifest
from workers.cvmfs.storage.storage import MANIFEST, ObjectSource
from workers.cvmfs.values.hash import ContentHash, Kind

__all__ = ["CheckProgress", "Finding", "Tell", "check"]


def check(
    source: ObjectSource,
    fqrn: str,
    public_keys: Sequence[rsa.RSAPublicKey],
    *,
    now: int,
    contents: bool = False,
    reflog_checksum: ContentHash | None = None,
    tell: Tell = lambda _: None,
) -> Findings[None]:
    """Yield everything that is wrong with a repository's current revision.

    An object that several rows name is examined once and told at the first of them.
    Whoever has seen enough closes the generator, which ends its threads.

    Args:
        source: where the repository is; several threads use it at once.
        fqrn: its name.
        public_keys: the master keys' public halves, as clients have them installed;
            one that fits will do.
        now: unix time, for the whitelist's expiry.
        contents: whether to read every object and prove hash and size, not only to
            see that it is there.
        reflog_checksum: the hash of the reflog, where it is known better than from the
            manifest: stock tools collect garbage without signing a new manifest.
        tell: is told how far the check has come, after each catalog and every few
            dozen objects.

    Raises:
        StorageFailed: there is no room for the list of objects seen (temporary files).
            Whatever is wrong with the repository itself is a finding.
    """
    progress = _Progress(tell)
    with Prover(source, contents=contents, tell=progress.proven) as prover:
        head = yield from examine_manifest(source, fqrn)
        if head is None:
            return
        manifest = head.manifest
        yield from chain(
            examine_trust(source, fqrn, head, public_keys, now),
            examine_alternative_names(source, manifest),
            _metainfo(source, manifest),
            examine_reflog(source, fqrn, manifest, reflog_checksum, prover),
            examine_history(source, fqrn, manifest, prover),
        )
        root = NestedCatalog(b"", manifest.root_catalog, manifest.root_catalog_size)
        properties = yield from examine_catalogs(
            source, root, prover, progress.catalog_done
        )
        if properties:
            yield from _compare(manifest, properties)


def _metainfo(source: ObjectSource, manifest: RepositoryManifest) -> Iterator[Finding]:
    if manifest.metainfo is None:
        return
    try:
        get_object(source, manifest.metainfo, Kind.METAINFO)
    except FormatError as error:
        yield Finding.of(manifest.metainfo.path(Kind.METAINFO), error)


def _compare(
    manifest: RepositoryManifest, properties: Mapping[str, str]
) -> Iterator[Finding]:
    """Compare the manifest with what its root catalog says of itself."""
    for line, said, key, default in (
        ("S", manifest.revision, "revision", 0),
        ("D", manifest.ttl, "TTL", DEFAULT_TTL_SECONDS),
    ):
        value = number(properties, key, default)
        if value is not None and value != said:
            yield Finding.of(
                MANIFEST, f"has {line}{said} but the root catalog has {key} {value}"
            )
    modified = number(properties, "last_modified")
    if modified is not None and manifest.timestamp < modified:
        yield Finding.of(
            MANIFEST,
            f"has T{manifest.timestamp} but its root catalog is from {modified}:"
            " mounted clients will refuse it",
        )


class _Progress:
    """Adds up how far the check has come."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._now = CheckProgress()

    def proven(self, proven: Proven) -> None:
        self._now = self._now._replace(
            objects=self._now.objects + proven.objects,
            bytes=self._now.bytes + proven.bytes,
        )
        self._tell(self._now)

    def catalog_done(self, entries: int) -> None:
        self._now = self._now._replace(
            catalogs=self._now.catalogs + 1, entries=self._now.entries + entries
        )
        self._tell(self._now)
