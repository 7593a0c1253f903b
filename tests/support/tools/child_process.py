"""Functions run in processes of their own, which may be killed.

child = Child(publish, "name")
child.outcome()   # what it returned; raises what it raised; EOFError if it was killed
"""

import multiprocessing
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Generic, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

_FORK = multiprocessing.get_context("fork")
_DEADLINE_SECONDS = 60.0


class ChildProcess(Generic[T]):
    """A process that runs one function and tells what became of it."""

    def __init__(self, run: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> None:
        self._receiver, sender = _FORK.Pipe(duplex=False)
        call = partial(run, *args, **kwargs)
        self._process = _FORK.Process(target=_run, args=(call, sender), daemon=True)
        self._process.start()
        sender.close()

    @property
    def exit_code(self) -> int | None:
        """Return the code, the negative number of the signal, once it has ended."""
        self._process.join(_DEADLINE_SECONDS)
        return self._process.exitcode

    def kill(self) -> None:
        """End it with SIGKILL, and wait until it has."""
        self._process.kill()
        self._process.join(_DEADLINE_SECONDS)

    def outcome(self) -> T:
        """Return what the function returned, or raise what it raised."""
        assert self._receiver.poll(_DEADLINE_SECONDS), "the child does not end"
        returned, raised = self._receiver.recv()
        self._process.join(_DEADLINE_SECONDS)
        if raised is not None:
            raise raised
        result: T = returned
        return result


def _run(run: Callable[[], object], sender: Connection) -> None:
    try:
        sender.send((run(), None))
    except Exception as error:  # noqa: BLE001 - the parent shall see it
        sender.send((None, error))
