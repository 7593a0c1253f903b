"""How long the whitelists of the configured repositories still hold.

A whitelist that has expired stops publishing, new mounts and updates (cvmfs-format.md
section 5.2, trap 20), so everybody should hear of it days before. ``up`` renews those
whose master key it has at half of their time; what is seen here to come near its end
has no master key here, or its renewal fails.

Asked by pages and metrics, it answers at once, with what it saw last; where that is
old, it looks again in the background, for a bucket may take its time.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workers.care.background_look import BackgroundLook
from workers.config import Config, RepositoryConfig
from workers.cvmfs import FormatError, NotFound, Whitelist
from workers.cvmfs.storage.storage import WHITELIST
from workers.wiring import native_repositories, open_repository, open_storage

log = logging.getLogger(__name__)

WARNED_SECONDS = 7 * 24 * 3600
_DAY_SECONDS = 24 * 3600
_HOUR_SECONDS = 3600
_VALID_SECONDS = 30 * _DAY_SECONDS
_TWO = 2


@dataclass(frozen=True, slots=True)
class WhitelistStanding:
    """What was seen of one whitelist.

    Attributes:
        fqrn: of its repository.
        ends: unix time at which it holds no more; ``None`` when it could not be read.
        is_there: whether the repository has one.
        is_renewed_here: whether the master key is here, so that ``up`` renews it.
    """

    fqrn: str
    ends: float | None
    is_there: bool
    is_renewed_here: bool

    def has_expired(self, now: float) -> bool:
        """Whether it is known to hold no more."""
        return self.ends is not None and now >= self.ends

    def warning(self, now: float) -> str | None:
        """Return one line for everybody, or ``None`` if all is well."""
        fqrn = self.fqrn
        if not self.is_there:
            return (
                f"{fqrn} is not there: see whether its storage is mounted; if it never"
                f" was there, run `cvmfs-webhook repository init {fqrn}`"
            )
        if self.ends is None:
            return f"whitelist of {fqrn} cannot be read: the receiver's log says why"
        left = self.ends - now
        if left >= WARNED_SECONDS:
            return None
        mend = f"run `cvmfs-webhook repository resign {fqrn}`"
        if self.is_renewed_here:
            mend += "; `up` should have renewed it, its log says why it did not"
        if left <= 0:
            return (
                f"whitelist of {fqrn} has expired, so nothing is published there and"
                f" no client mounts it anew: {mend}"
            )
        return f"whitelist of {fqrn} expires in {_span(left)}: {mend}"


class WhitelistWatch:
    """Looks at whitelists now and then; may be asked from several threads.

    Args:
        config: has the repositories.
        clock: unix time.
    """

    def __init__(
        self, config: Config, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._config = config
        self._clock = clock
        self._background = BackgroundLook[tuple[WhitelistStanding, ...]](
            self._standings, (), "whitelists"
        )
        self.look = self._background.look

    def standings(self) -> Sequence[WhitelistStanding]:
        """Return what was seen last; nothing before the first look has ended."""
        return self._background.seen()

    def warnings(self) -> Sequence[str]:
        """Return what everybody should know, one line each."""
        now = self._clock()
        said = (standing.warning(now) for standing in self.standings())
        return [line for line in said if line is not None]

    def has_expired(self) -> bool:
        """Whether any is known to hold no more."""
        now = self._clock()
        return any(standing.has_expired(now) for standing in self.standings())

    def _standings(self) -> tuple[WhitelistStanding, ...]:
        repositories = native_repositories(self._config)
        return tuple(self._standing(repository) for repository in repositories)

    def _standing(self, repository: RepositoryConfig) -> WhitelistStanding:
        fqrn = repository.fqrn
        ends: float | None = None
        is_there = True
        try:
            storage = open_storage(self._config, fqrn)
            # Who may watch it need not be able to verify it.
            ends = Whitelist.parse(storage.get(WHITELIST)).ends
        except NotFound:
            is_there = False
        except FormatError as error:
            log.warning("repository=%s whitelist cannot be read: %s", fqrn, error)
        key = repository.keys / f"{fqrn}.masterkey"
        return WhitelistStanding(fqrn, ends, is_there, key.is_file())


def renew_whitelists(config: Config) -> None:
    """Sign the whitelists that have less than half of their time left anew.

    Only of repositories whose master key is here; what goes wrong is logged, since the
    next try comes long before it matters.
    """
    for fqrn in [repository.fqrn for repository in native_repositories(config)]:
        try:
            repository = open_repository(config, fqrn)
            left = repository.whitelist().expires.timestamp() - time.time()
            if left < _VALID_SECONDS / 2:
                repository.renew_whitelist(now=int(time.time()))
                log.info("repository=%s whitelist renewed", fqrn)
        except FormatError as error:
            log.warning("repository=%s whitelist not renewed: %s", fqrn, error)


def _span(seconds: float) -> str:
    if seconds >= _TWO * _DAY_SECONDS:
        return f"{seconds // _DAY_SECONDS:.0f} days"
    if seconds >= _TWO * _HOUR_SECONDS:
        return f"{seconds // _HOUR_SECONDS:.0f} hours"
    return f"{max(1, seconds // 60):.0f} min"
