"""Python's garbage collector, told to wait.

While a hundred thousand tuples are made, it looks at all of them again and again for
cycles, of which there are none, and costs up to a third of the time.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Let no cycle be looked for within; of the whole process, as there is one only."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
