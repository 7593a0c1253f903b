"""How many steps it takes to find where paths really are.

A path of a few bytes can lead through forty symlinks of two thousand components each;
so what finding it costs is counted, and grows no faster than the number of entries.
"""

from collections.abc import Callable

from workers.images.rejected import ImageRejected

# However small a layer is; a second.
_STEPS = 1 << 20
# For each entry of a layer. Most take one: their directory is there already.
_STEPS_OF_ENTRY = 128
# So often it is asked whether the work is still wanted.
_STEPS_BETWEEN_LOOKS = 1 << 12


def always_wanted() -> None:
    """Let the work go on to its end."""


class Steps:
    """Counts the steps of one piece of work, and ends it when they are too many.

    Args:
        still_wanted: asked every few thousand steps; what it raises ends the work.

    Attributes:
        taken: so far.
    """

    def __init__(self, still_wanted: Callable[[], None] = always_wanted) -> None:
        self._still_wanted = still_wanted
        self._allowed = _STEPS
        self._next_look = 0
        self.taken = 0

    def allow(self, entries: int) -> None:
        """Let so many more entries be worked upon."""
        self._allowed += entries * _STEPS_OF_ENTRY

    def take(self, count: int) -> None:
        """Count some steps, before they are done.

        Raises:
            ImageRejected: they are more than its entries are worth.
        """
        self.taken += count
        if self.taken > self._allowed:
            raise ImageRejected(
                f"the paths of the image take more than {self._allowed} steps to "
                "follow: its symlinks are too many and too long, or its directories "
                "too deep"
            )
        if self.taken >= self._next_look:
            self._next_look = self.taken + _STEPS_BETWEEN_LOOKS
            self._still_wanted()
