"""How much room there is for the repositories, for pages and metrics.

As seen from here: where a repository lies on a disk that only workers have, only their
log tells.
"""

from collections.abc import Sequence

from workers.care.background_look import BackgroundLook
from workers.config import Config
from workers.config.disk_space import DiskSpace, disks

_EVERY_SECONDS = 10.0


class DiskWatch:
    """Looks at disks now and then; may be asked from several threads.

    In the background, since a file server that is away lets nobody go on.

    Args:
        config: has the repositories.
    """

    def __init__(self, config: Config) -> None:
        self._background = BackgroundLook[tuple[DiskSpace, ...]](
            lambda: tuple(disks(config)), (), "disks", every_seconds=_EVERY_SECONDS
        )
        self.look = self._background.look

    def standings(self) -> Sequence[DiskSpace]:
        """Return what was seen last; nothing before the first look has ended."""
        return self._background.seen()

    def warnings(self) -> Sequence[str]:
        """Return what everybody should know, one line each."""
        said = (disk.warning() for disk in self.standings())
        return [line for line in said if line is not None]
