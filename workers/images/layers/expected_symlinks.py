"""Where symlinks lead, for ``verify``: found in another way than ``merge`` finds it."""

import stat
from collections.abc import Callable

from workers.cvmfs import Dirent
from workers.images.layers.steps import Steps

_HOPS = 40


class ExpectedSymlinks:
    """Follows paths for as long as nothing changes in what they lead through.

    Each symlink is followed once, however many paths go through it.

    Args:
        get: returns what is at a place.
        steps: counts components that are looked at.
    """

    def __init__(self, get: Callable[[bytes], Dirent | None], steps: Steps) -> None:
        self._get = get
        self._steps = steps
        # By the place of a symlink where it led, and past how many with it.
        self._leads: dict[bytes, tuple[bytes, int]] = {}

    def follow(self, path: bytes, start: bytes = b"") -> bytes:
        """Return where a path leads as a directory, whether it is there or not.

        What lies behind more symlinks than Linux follows is taken as it is named.
        """
        return self._follow(path, start, 0)[0]

    def _follow(self, path: bytes, at: bytes, past: int) -> tuple[bytes, int]:
        components = [c for c in path.split(b"/") if c not in (b"", b".")]
        self._steps.take(1 + len(components))
        for component in components:
            if component == b"..":
                at = at.rpartition(b"/")[0]
                continue
            here = at + b"/" + component if at else component
            found = self._get(here)
            if found is None or not stat.S_ISLNK(found.mode) or past > _HOPS:
                at = here
                continue
            known = self._leads.get(here)
            if known is not None and past + known[1] <= _HOPS:
                at, past = known[0], past + known[1]
                continue
            begin = b"" if found.target.startswith(b"/") else at
            at, after = self._follow(found.target, begin, past + 1)
            if after <= _HOPS:
                self._leads[here] = at, after - past
            past = after
        return at, past
