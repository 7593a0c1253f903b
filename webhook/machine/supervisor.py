"""Child processes that are there: started, started again when they die, ended.

Every child dies with us, however we end, so that nothing is left that a new start would
stumble over.
"""

import logging
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workers.errors import WorkerError
from workers.jobqueue.parent_death import dies_with_parent

log = logging.getLogger(__name__)

_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 30.0
_STABLE_SECONDS = 30.0
_POLL_SECONDS = 0.1
_CHORE_SECONDS = 3600.0
# What a child needs is not there yet; nothing was started in vain.
_UNREADY_SECONDS = 2.0
_FIRST_ERRAND_SECONDS = 3600.0


def started(
    command: Sequence[str],
    folder: Path | None = None,
    inherited: tuple[int, ...] = (),
) -> subprocess.Popen[bytes]:
    """Start a process that ends with us."""
    return subprocess.Popen(  # noqa: S603 - our own commands
        list(command),
        cwd=folder,
        pass_fds=inherited,
        stdin=subprocess.DEVNULL,
        # What it makes without saying for whom is for our own user.
        umask=0o077,
        # A Ctrl-C at the terminal is ours to hand on, once and in order.
        start_new_session=True,
        preexec_fn=dies_with_parent(signal.SIGTERM),  # noqa: PLW1509 - no threads
    )


def _wait_for(process: subprocess.Popen[bytes], name: str, deadline: float) -> None:
    """Wait until a process has ended; at the deadline make it."""
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        log.warning("%s does not end; it is killed", name)
        process.kill()
        process.wait()


@dataclass(slots=True)
class Child:
    """One process that shall run.

    Attributes:
        name: for messages.
        command: what to run.
        folder: where to run it.
        inherited: file descriptors that it gets.
        before: called before each start; what it raises stops nothing, the start is
            tried again later.
    """

    name: str
    command: Callable[[], Sequence[str]]
    folder: Path | None = None
    inherited: Callable[[], tuple[int, ...]] = tuple
    before: Callable[[], None] = lambda: None
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    delay: float = 0.0
    next_start: float = 0.0

    @property
    def is_alive(self) -> bool:
        """Whether the process runs at this moment."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the process."""
        self.before()
        self.process = started(self.command(), self.folder, self.inherited())
        self.started = time.monotonic()

    def revive(self, now: float) -> None:
        """Start the process again if it is dead and its delay is over."""
        if self.is_alive:
            return
        if self.process is not None:
            code, self.process = self.process.returncode, None
            if now - self.started > _STABLE_SECONDS:
                self.delay = 0.0
            self.delay = min(
                max(2 * self.delay, _FIRST_DELAY_SECONDS), _LONGEST_DELAY_SECONDS
            )
            self.next_start = now + self.delay
            log.error("%s ended with %s; it starts again", self.name, code)
        if now >= self.next_start:
            self.start()

    def ask_to_end(self) -> None:
        """Send SIGTERM, if it runs."""
        if self.process is not None and self.is_alive:
            self.process.send_signal(signal.SIGTERM)

    def end(self, deadline: float) -> None:
        """Wait until it has ended; at the deadline make it."""
        if self.process is None:
            return
        _wait_for(self.process, self.name, deadline)


@dataclass(slots=True)
class Errand:
    """A process that runs now and then, and ends by itself.

    Attributes:
        name: for messages.
        command: what to run.
        every_seconds: from one start to the next; the first is as long after ours, but
            within an hour, so that frequent restarts do not put it off for ever.
    """

    name: str
    command: Callable[[], Sequence[str]]
    every_seconds: float
    process: subprocess.Popen[bytes] | None = None
    next_start: float | None = None

    def look(self, now: float) -> None:
        """Start it if it is due; say so if it has failed."""
        if self.next_start is None:
            self.next_start = now + min(self.every_seconds, _FIRST_ERRAND_SECONDS)
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return
            self.process = None
            if code:
                log.error("%s ended with %s; it is tried again later", self.name, code)
        if now >= self.next_start:
            self.next_start = now + self.every_seconds
            self.process = started(self.command())

    def end(self, deadline: float) -> None:
        """Have it stopped; what it had not done it does the next time."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            _wait_for(self.process, self.name, deadline)


@dataclass(slots=True)
class Supervisor:
    """Runs children until it is told to stop.

    Attributes:
        server: the one that the others need; ended last.
        children: the others.
        errands: what runs now and then.
        chore: called now and then, for what has to be renewed.
    """

    server: Child | None
    children: list[Child] = field(default_factory=list)
    errands: list[Errand] = field(default_factory=list)
    chore: Callable[[], None] = lambda: None
    is_stopping: bool = False

    def stop(self, _signal: int = 0, _frame: object = None) -> None:
        """Make ``watch`` return; a signal handler."""
        self.is_stopping = True

    @property
    def may_wait(self) -> bool:
        """Whether it makes sense to go on waiting for the server."""
        return not (self.is_stopping or self.server is None or not self.server.is_alive)

    def watch(self) -> None:
        """Keep everything alive until ``stop``."""
        everything = [child for child in (self.server, *self.children) if child]
        next_chore = time.monotonic()
        while not self.is_stopping:
            now = time.monotonic()
            if now >= next_chore:
                self.chore()
                next_chore = now + _CHORE_SECONDS
            for errand in self.errands:
                errand.look(now)
            for child in everything:
                try:
                    child.revive(now)
                except WorkerError as error:
                    if not self.is_stopping:
                        log.error("%s does not start: %s", child.name, error)  # noqa: TRY400 - one line says it
                    child.next_start = now + _UNREADY_SECONDS
                except Exception:
                    log.exception("%s does not start", child.name)
                    child.next_start = now + _LONGEST_DELAY_SECONDS
            time.sleep(_POLL_SECONDS)

    def end(self, patience_seconds: float = 8.0) -> None:
        """End all children, the server last."""
        deadline = time.monotonic() + patience_seconds
        for child in self.children:
            child.ask_to_end()
        for child in self.children:
            child.end(deadline)
        for errand in self.errands:
            errand.end(deadline)
        if self.server is not None:
            self.server.ask_to_end()
            self.server.end(time.monotonic() + patience_seconds)
