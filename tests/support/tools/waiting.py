"""Waiting for what happens elsewhere."""

import time
from collections.abc import Callable

DEADLINE_SECONDS = 30.0


def wait_until(claim: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not claim():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.02)
