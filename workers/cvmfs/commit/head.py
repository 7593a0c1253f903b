"""The last steps of everything that changes a repository, and its first.

Under the lock, and with a whitelist that holds: whoever publishes what no client would
believe has only broken a repository.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from workers.cvmfs.objects.objects import DEFAULT_LEVEL, get_object, put_object
from workers.cvmfs.revisions.history import History
from workers.cvmfs.revisions.reflog import Reflog
from workers.cvmfs.revisions.reflog_repair import load_reflog, references_of
from workers.cvmfs.signing.keys import KeyRing
from workers.cvmfs.signing.manifest import RepositoryManifest
from workers.cvmfs.signing.trust import load_head
from workers.cvmfs.storage.storage import MANIFEST, REFLOG, ObjectSource, Storage
from workers.cvmfs.values.hash import ContentHash, Kind


def publish_head(
    storage: Storage,
    keys: KeyRing,
    manifest: RepositoryManifest,
    reflog: Reflog,
    now: int,
) -> RepositoryManifest:
    """Put the mutable files in place; the last of them is the commit point.

    Returns:
        The manifest as it was signed.
    """
    storage.sync()
    for reference in references_of(manifest):
        reflog.add(reference, now)
    data = reflog.finish()
    storage.replace(REFLOG, data)
    # Clients refuse a time before the one they know, and before the root catalog's
    # own (trap 38); the latter is ``now``.
    published = replace(
        manifest,
        timestamp=max(now, manifest.timestamp),
        reflog=ContentHash.of(data),
    )
    storage.replace(MANIFEST, published.sign(keys.repository_key))
    return published


def load_history(source: ObjectSource, head: RepositoryManifest) -> History:
    """Open the history of a head; a new one where it has none."""
    if head.history is None:
        return History(None, head.fqrn)
    data = get_object(source, head.history, Kind.HISTORY)
    return History(data, head.fqrn, head.history)


@dataclass(frozen=True, slots=True)
class OpenHead:
    """A repository's head, held under the lock.

    Attributes:
        manifest: verified.
        reflog: repaired, if it was not sound.
        is_sound: whether it was.
    """

    storage: Storage
    keys: KeyRing
    manifest: RepositoryManifest
    reflog: Reflog
    is_sound: bool

    def publish(self, manifest: RepositoryManifest, now: int) -> RepositoryManifest:
        """Replace the head by another, signed with the certificate that is ours."""
        ours = self.put(self.keys.certificate_pem, Kind.CERTIFICATE)
        manifest = replace(manifest, certificate=ours)
        return publish_head(self.storage, self.keys, manifest, self.reflog, now)

    def put(self, content: bytes, kind: Kind) -> ContentHash:
        """Store an object that the new head shall name."""
        return put_object(self.storage, content, kind, DEFAULT_LEVEL)[0]


@contextmanager
def open_head(
    storage: Storage, fqrn: str, keys: KeyRing, now: int
) -> Iterator[OpenHead]:
    """Take the lock and verify that what we sign will be believed.

    Raises:
        RepositoryBusy: somebody else holds the lock.
        NotTrusted: the head does not hold, or our certificate is not listed.
    """
    with storage.lock():
        manifest, whitelist = load_head(storage, fqrn, keys.public_key)
        whitelist.check(fqrn, keys.certificate)
        whitelist.check_date(now)
        reflog, is_sound = load_reflog(storage, manifest, now)
        with closing(reflog):
            yield OpenHead(storage, keys, manifest, reflog, is_sound)
