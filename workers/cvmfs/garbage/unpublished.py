"""What was stored for a publication that did not come about, taken back at once.

Garbage collection finds it, too, but only after its grace time, and an image that is
refused at its last layer may have filled a disk by then.

**Why nobody is harmed.** An object is deleted only if

- it was stored through this storage, at a name where nothing was;
- nobody else has found it there since, as its time says
  (``storage/own_objects.py``): this keeps other runs from having to begin again;
- no revision names it. That is looked up under the lock, in every root catalog that the
  reflog had not when this began: an older one cannot name what did not exist. Of those,
  only catalogs are read that did not stand at the same path then.

And as with garbage collection, deleting changes the ``deletion_mark``, so a commit of
whoever relies on such an object all the same looks it up, and refuses with
``ContentCollected``.

An object that an older revision names, and that was missing, is as missing as it was.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice

from workers.cvmfs.catalog.reader import NestedCatalog
from workers.cvmfs.errors import FormatError, Malformed
from workers.cvmfs.garbage.marks import Marks
from workers.cvmfs.objects.objects import EMPTY_HASH
from workers.cvmfs.revisions.reflog import ReferenceType, Reflog
from workers.cvmfs.revisions.reflog_repair import load_reflog, references_of
from workers.cvmfs.signing.keys import KeyRing
from workers.cvmfs.signing.trust import load_head
from workers.cvmfs.storage.deletion_mark import deleting
from workers.cvmfs.storage.storage import REFLOG, KnowsItsOwn, Storage
from workers.cvmfs.values.hash import ContentHash

_BATCH = 1_000
"""As in ``collect.py``: the lock is held for so many at a time."""
_PATIENCE_SECONDS = 10.0
_DATA = len("data/")


class Unpublished:
    """What is stored through one storage from now on, until it is published.

    Args:
        fqrn: the repository's name.
        storage: where it lies; nothing is ever taken back of one that does not know
            its own objects, nor of a repository that cannot be read.
        keys: those of the repository.
    """

    def __init__(self, fqrn: str, storage: Storage, keys: KeyRing) -> None:
        self._fqrn = fqrn
        self._storage = storage
        self._keys = keys
        self.begin()

    def begin(self) -> None:
        """Take what was stored for published, and begin anew."""
        storage, self._reflog = self._storage, b""
        if not isinstance(storage, KnowsItsOwn):
            return
        storage.forget_own()
        try:
            head, _ = load_head(storage, self._fqrn, self._keys.public_key)
            # Read later, if ever: whatever it lists was there before what comes.
            reflog = storage.get(REFLOG)
        except FormatError:
            return
        self._reflog = reflog
        self._root = NestedCatalog(b"", head.root_catalog, head.root_catalog_size)

    def take_back(self, *, now: int) -> int:
        """Delete what no revision names and nobody else has found.

        Returns:
            How many objects that were.

        Raises:
            RepositoryBusy: the lock was not free; the rest is left to the collection.
            FormatError: whatever else is in the way; the same.
        """
        storage = self._storage
        if not isinstance(storage, KnowsItsOwn) or not self._reflog:
            return 0
        deleted = 0
        with closing(Marks()) as marks:
            try:
                known = self._known()
            except Malformed:
                return 0
            for paths in _batches(storage.own_objects(), _BATCH):
                with storage.lock(patience_seconds=_PATIENCE_SECONDS):
                    self._mark_new(marks, known, now)
                    going = [path for path in paths if not marks.contains(_hash(path))]
                    if going:
                        with deleting(storage):
                            deleted += len(storage.delete_own(going))
        storage.forget_own()
        return deleted

    def _known(self) -> set[ContentHash]:
        with closing(Reflog(self._reflog, self._fqrn)) as reflog:
            return {
                reference.hash
                for reference in reflog.references()
                if reference.type is ReferenceType.CATALOG
            }

    def _mark_new(self, marks: Marks, known: set[ContentHash], now: int) -> None:
        """Mark what the revisions name that are not known, and let them be known."""
        head, _ = load_head(self._storage, self._fqrn, self._keys.public_key)
        reflog, _ = load_reflog(self._storage, head, now)
        with closing(reflog):
            references = {*reflog.references(), *references_of(head)}
        # Commits that make a nested catalog rely on it being there, for its marker.
        marks.add(EMPTY_HASH)
        for reference in references:
            if reference.type is not ReferenceType.CATALOG:
                marks.add(reference.hash)
            elif reference.hash not in known:
                top = NestedCatalog(b"", reference.hash, 0)
                marks.walk_new(self._storage, top, self._root)
                known.add(reference.hash)


def _hash(path: str) -> ContentHash:
    return ContentHash(bytes.fromhex(path[_DATA : _DATA + 41].replace("/", "")))


def _batches(paths: Iterable[str], size: int) -> Iterator[Sequence[str]]:
    remaining = iter(paths)
    while batch := list(islice(remaining, size)):
        yield batch
