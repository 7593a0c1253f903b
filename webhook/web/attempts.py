"""How often an address has guessed wrong: a small book in memory, one per process.

Tokens are long random texts, so this is not what keeps guesses from succeeding. It
keeps a guesser from filling the log, and tells programs with an old token to go slow.
Only wrong guesses wait: many people may share one address, and the one who has the
token must not be kept out by the others.
"""

import ipaddress
from collections import OrderedDict, deque
from collections.abc import Callable
from math import ceil
from threading import Lock

from webhook.web.proxies import parse_address

# Of what is no address; a unix socket's is empty.
_LONGEST_TEXT = 100


class Attempts:
    """Wrong guesses of the last ``window_seconds``, by address.

    Args:
        clock: seconds, never going backwards.
        allowed: wrong guesses in the window before an address has to wait.
        window_seconds: for how long a wrong guess counts.
        addresses: how many are remembered; the one that was quiet longest goes first.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        allowed: int = 10,
        window_seconds: int = 60,
        addresses: int = 10_000,
    ) -> None:
        self._clock = clock
        self._allowed = allowed
        self._window_seconds = window_seconds
        self._addresses = addresses
        self._lock = Lock()
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def seconds_to_wait(self, address: str) -> int:
        """Return for how many seconds wrong guesses of this address wait; 0: not."""
        with self._lock:
            times = self._times.get(_network(address))
            if times is None or len(times) < self._allowed:
                return 0
            return max(0, ceil(times[0] + self._window_seconds - self._clock()))

    def failed(self, address: str) -> None:
        """Note a wrong guess."""
        with self._lock:
            network = _network(address)
            # Only the last ``allowed`` times matter: the first of them decides.
            times = self._times.setdefault(network, deque(maxlen=self._allowed))
            times.append(self._clock())
            self._times.move_to_end(network)
            while len(self._times) > self._addresses:
                self._times.popitem(last=False)


def _network(address: str) -> str:
    """Return the address; for IPv6 its /64, for whoever has one has all of those."""
    parsed = parse_address(address)
    if parsed is None:
        return address[:_LONGEST_TEXT]
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
