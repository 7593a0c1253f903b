"""Whether Redis was silent of late: then others have not been heard there, either.

While a server hangs nobody can prolong a lease, so when it goes on they may have run
out, although their holders live. Each takes its own back within seconds, if nobody has
been quicker.
"""

import time
from collections.abc import Callable

# Between two answers to somebody who asks every second or two.
_SILENCE_SECONDS = 10.0
# A holder whose question was given up asks again after at most this time.
_RETURN_SECONDS = 8.0


class Silence:
    """Remembers when Redis was heard.

    Args:
        clock: monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard = clock()
        self._over = clock()

    def note_answer(self) -> None:
        """Say that Redis has answered."""
        now = self._clock()
        if now - self._heard > _SILENCE_SECONDS:
            self._over = now + _RETURN_SECONDS
        self._heard = now

    @property
    def is_over(self) -> bool:
        """Whether those who live have had the time to say so."""
        return self._clock() >= self._over
