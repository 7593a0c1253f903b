"""Making a process end with its parent, even when that is killed with SIGKILL."""

import ctypes
import os
import signal
from collections.abc import Callable

# prctl(2), linux/prctl.h.
_PR_SET_PDEATHSIG = 1


def dies_with_parent(death: signal.Signals) -> Callable[[], None]:
    """Return what a child calls right after the fork, for instance as ``preexec_fn``.

    The kernel then sends it ``death`` when its parent ends in any way; to be exact,
    when the thread ends that forked it. What needs memory or locks is done here, before
    the fork.
    """
    parent = os.getpid()
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def tie() -> None:
        # The parent may have died before the kernel was told to watch it.
        if prctl(_PR_SET_PDEATHSIG, int(death), 0, 0, 0) or os.getppid() != parent:
            os._exit(1)

    return tie
