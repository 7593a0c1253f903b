"""How long the whitelists of the configured repositories still hold.

A whitelist that has expired stops publishing, new mounts and updates (cvmfs-format.md
section 5.2, trap 20). So whatever runs for long beside a master key, ``up``, worker or
reconciler, renews it at half of its time (``renew_whitelists``); what comes nearer to
its end than that has its master key nowhere that we run, or its renewal fails, and
everybody hears of it days before: by pages, a metric and the logs.

Asked by pages and metrics, it answers at once, with what it saw last; where that is
old, it looks again in the background, for a bucket may take its time.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from workers.care.background_look import BackgroundLook
from workers.config import Config, RepositoryConfig
from workers.cvmfs import FormatError, NotFound, Whitelist
from workers.cvmfs.storage.storage import WHITELIST
from workers.wiring import native_repositories, open_repository, open_storage

log = logging.getLogger(__name__)

WARNED_SECONDS = 10 * 24 * 3600
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
        is_renewed_here: whether the master key is here, so that it is renewed.
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
            mend += (
                "; worker, reconciler or `up` should have renewed it, its log says why"
                " it did not"
            )
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
        return tuple(
            _standing(self._config, repository)
            for repository in native_repositories(self._config)
        )


def _standing(config: Config, repository: RepositoryConfig) -> WhitelistStanding:
    fqrn = repository.fqrn
    ends: float | None = None
    is_there = True
    try:
        # Who may watch it need not be able to verify it.
        ends = Whitelist.parse(open_storage(config, fqrn).get(WHITELIST)).ends
    except NotFound:
        is_there = False
    except FormatError as error:
        log.warning("repository=%s whitelist cannot be read: %s", fqrn, error)
    key = repository.keys / f"{fqrn}.masterkey"
    return WhitelistStanding(fqrn, ends, is_there, os.access(key, os.R_OK))


def renew_whitelists(config: Config, *, clock: Callable[[], float] = time.time) -> None:
    """Sign the whitelists that have less than half of their time left anew.

    Only of repositories whose master key is here, and only one of the processes that
    have it does so. What goes wrong is logged, since the next try comes long before it
    matters; so is what comes near its end because nobody renews it.

    Args:
        config: has the repositories.
        clock: unix time.
    """
    for repository in native_repositories(config):
        now = clock()
        standing = _standing(config, repository)
        half = now + _VALID_SECONDS / 2
        if standing.ends is None or standing.ends >= half:
            continue
        if standing.is_renewed_here:
            standing = _renewed(config, standing, now, half)
        warning = standing.warning(now)
        if warning is not None:
            log.warning("repository=%s %s", repository.fqrn, warning)


def _renewed(
    config: Config, standing: WhitelistStanding, now: float, half: float
) -> WhitelistStanding:
    """Renew a whitelist, unless another just did; return what became of it."""
    fqrn = standing.fqrn
    try:
        whitelist = open_repository(config, fqrn).renew_whitelist(
            now=int(now), unless_valid_until=half
        )
    except FormatError as error:
        log.warning("repository=%s whitelist not renewed: %s", fqrn, error)
        return standing
    log.info("repository=%s whitelist renewed", fqrn)
    return replace(standing, ends=whitelist.ends)


def _span(seconds: float) -> str:
    if seconds >= _TWO * _DAY_SECONDS:
        return f"{seconds // _DAY_SECONDS:.0f} days"
    if seconds >= _TWO * _HOUR_SECONDS:
        return f"{seconds // _HOUR_SECONDS:.0f} hours"
    return f"{max(1, seconds // 60):.0f} min"
