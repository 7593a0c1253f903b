"""Whether the heads of the configured repositories went back, for pages and metrics.

While one did, nothing is published there until somebody decides (``heads.py``). Beside
it: how many entries of the queue of ready commits were set aside, as nobody who may
sign has written them.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import redis

from workers.care.background_look import BackgroundLook
from workers.config import Config
from workers.cvmfs import FormatError, RepositoryManifest
from workers.cvmfs.storage.storage import MANIFEST
from workers.errors import TransientError
from workers.ledger import KnownHeads
from workers.publishing.ready_queue import count_set_aside
from workers.wiring import native_repositories, open_storage

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HeadStanding:
    """What was seen of one repository.

    Attributes:
        fqrn: its name.
        objection: why nothing is built upon its head; None if all is well, or if it
            cannot be told, which others say.
        set_aside: entries of its queue, of late.
    """

    fqrn: str
    objection: str | None
    set_aside: int


class HeadWatch:
    """Looks at heads now and then; may be asked from several threads.

    Args:
        config: has the repositories.
        connection: to the Redis of the ledger.
    """

    def __init__(self, config: Config, connection: redis.Redis) -> None:
        self._config = config
        self._redis = connection
        self._heads = KnownHeads(connection)
        self._background = BackgroundLook[tuple[HeadStanding, ...]](
            self._standings, (), "heads"
        )
        self.look = self._background.look

    def standings(self) -> Sequence[HeadStanding]:
        """Return what was seen last; nothing before the first look has ended."""
        return self._background.seen()

    def warnings(self) -> Sequence[str]:
        """Return what everybody should know, one line each."""
        return [
            f"nothing is published in {standing.fqrn}: {standing.objection}"
            for standing in self.standings()
            if standing.objection is not None
        ]

    def _standings(self) -> tuple[HeadStanding, ...]:
        repositories = native_repositories(self._config)
        return tuple(self._standing(repository.fqrn) for repository in repositories)

    def _standing(self, fqrn: str) -> HeadStanding:
        objection, set_aside = None, 0
        with suppress(TransientError):
            set_aside = count_set_aside(self._redis, fqrn)
        try:
            # Who may watch it need not be able to verify it.
            data = open_storage(self._config, fqrn).get(MANIFEST)
            head = RepositoryManifest.parse(data)
            root = str(head.root_catalog)
            objection = self._heads.objection(fqrn, head.revision, root)
        except FormatError as error:
            log.warning("repository=%s its manifest cannot be read: %s", fqrn, error)
        except TransientError as error:
            log.debug("repository=%s its head is not compared: %s", fqrn, error)
        if objection is not None:
            log.warning("repository=%s %s", fqrn, objection)
        return HeadStanding(fqrn, objection, set_aside)
