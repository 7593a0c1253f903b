"""Whether a storage holds what we know of its repository, before work begins there.

A disk that is not mounted looks like one on which there never was a repository, and a
backup that was put back like a day without pushes. Keys and ledger know better. Where
they do, nothing is begun and nothing built upon what is there without an operator's
word: ``repository init --again`` for an empty storage, ``ledger rebuild`` for an older
head.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from workers.config import Config, RepositoryConfig
from workers.cvmfs import (
    HeadWentBack,
    InvalidKeys,
    KeyRing,
    RepositoryExists,
    RepositoryManifest,
)
from workers.cvmfs.storage.local import make_public_folder
from workers.cvmfs.storage.storage import MANIFEST
from workers.errors import PermanentError, TransientError
from workers.ledger import KnownHeads, LedgerUnavailable
from workers.wiring import (
    NATIVE,
    Front,
    check_head,
    configured,
    open_repository,
    open_storage,
)

# A queue that is not there, as before the first start, is no reason to wait.
_PATIENCE_SECONDS = 0.1


class StorageIsEmpty(PermanentError):
    """A storage without the repository that keys or ledger know."""


def check_is_new(config: Config, fqrn: str) -> None:
    """Refuse to begin a repository that was there already.

    Raises:
        StorageIsEmpty: keys or ledger know it, and its storage does not.
    """
    repository = configured(config, fqrn)
    who = None
    if KeyRing.is_there(fqrn, repository.keys) and not _begun(repository).exists():
        who = f"{repository.keys} has keys of it"
    with _known_heads(config) as heads, suppress(LedgerUnavailable):
        if heads is not None and heads.knows(fqrn):
            who = "the ledger knows what was published there"
    # Another may have begun it meanwhile, with keys of its own making.
    if who is None or open_storage(config, fqrn).exists(MANIFEST):
        return
    raise StorageIsEmpty(
        f"{fqrn}: {repository.storage} is empty, but {who}: see whether the disk is"
        " mounted and the right one, or put the data back; to begin anew with"
        f" nothing, run `cvmfs-webhook repository init {fqrn} --again`"
    )


@contextmanager
def being_made(repository: RepositoryConfig) -> Iterator[None]:
    """Note beside its keys that a repository is being made, until it is there.

    Who is killed before that has made keys of nothing, and may begin anew.

    Raises:
        InvalidKeys: the folder of the keys cannot be written.
    """
    if not KeyRing.is_there(repository.fqrn, repository.keys):
        try:
            make_public_folder(repository.keys.absolute())
            _begun(repository).touch()
        except OSError as error:
            raise InvalidKeys(f"{repository.keys}: {error.strerror}") from error
    try:
        yield
    except RepositoryExists:
        note_made(repository)
        raise
    note_made(repository)


def note_made(repository: RepositoryConfig) -> None:
    """Take the note away: from now on its keys are those of something."""
    begun = _begun(repository)
    if begun.exists():
        begun.unlink(missing_ok=True)


def head_went_back(config: Config, fqrn: str) -> str | None:
    """Say why the head of a repository is not to be built upon; None if it is.

    Raises:
        FormatError: the repository cannot be read.
    """
    try:
        with current_head(config, fqrn):
            return None
    except HeadWentBack as error:
        return str(error)


@contextmanager
def current_head(config: Config, fqrn: str) -> Iterator[None]:
    """Let something be done to a repository whose head did not go back.

    The head that comes of it is known from then on.

    Raises:
        HeadWentBack: it did, as far as the ledger can be asked.
        FormatError: the repository cannot be read.
    """
    with _known_heads(config) as heads:
        if heads is None or configured(config, fqrn).publisher != NATIVE:
            yield
            return
        check_head(heads, _head(config, fqrn))
        yield
        with suppress(LedgerUnavailable):
            head = _head(config, fqrn)
            heads.note(fqrn, head.revision, str(head.root_catalog))


def accept_head(config: Config, fqrn: str) -> None:
    """Let what is there count from now on, by the operator's word.

    Raises:
        LedgerUnavailable: it cannot be told.
        FormatError: the repository cannot be read.
    """
    if configured(config, fqrn).publisher != NATIVE:
        return
    head = _head(config, fqrn)
    with Front.open(config) as front:
        heads = KnownHeads(front.connection)
        heads.accept(fqrn, head.revision, str(head.root_catalog))


def _begun(repository: RepositoryConfig) -> Path:
    return repository.keys / f".{repository.fqrn}.begun"


def _head(config: Config, fqrn: str) -> RepositoryManifest:
    return open_repository(config, fqrn).head()


@contextmanager
def _known_heads(config: Config) -> Iterator[KnownHeads | None]:
    """Give what the ledger knows; None where there is no ledger yet."""
    try:
        front = Front.open(config, patience_seconds=_PATIENCE_SECONDS)
    except TransientError:
        yield None
        return
    with front:
        yield KnownHeads(front.connection)
