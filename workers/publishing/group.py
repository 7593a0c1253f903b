"""Ready batches of many processes in one commit.

Whoever is ready tries the repository's lock. Who gets it leads: it commits its own
batch and all that lie in the queue, and tells each owner what became of it. Who does
not get it lays its batch into the queue and waits to be told, or to be called to lead.
So a process that is alone never touches the queue but to look into it, and a busy
repository has few revisions, each of many images.

Nothing here has to be believed for a repository to stay sound; that is what lock and
fences are for:

* Only what the holder of the lock writes becomes visible, and each batch only if its
  own fence holds at that moment. The fence is data (``Fence.token``), so that it is
  asked whether or not the owner of the batch still lives.
* Nothing is taken out of the queue before its answer is there. A leader that dies
  leaves the queue as it was, and the lock goes with it: the next one that tries leads.
* A batch that a dead leader had committed already, or that was committed twice as the
  queue was away, is in force; committing it again changes nothing
  (``cvmfs/commit/committer.py``).
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple, dataclass
from typing import Protocol

from workers.cvmfs import (
    Batch,
    ContentCollected,
    ContentHash,
    FormatError,
    Malformed,
    Repository,
    RepositoryBusy,
    Revision,
)
from workers.errors import TransientError
from workers.publishing.publisher import Fence

# So many at once keep a commit short and its memory small.
_MOST_BATCHES = 100
# How soon it is noticed that a leader died, and that the lock was not held by one.
_LOOK_AGAIN_SECONDS = 0.25
# From then on the lock is waited for: a bucket's is recognised as a dead writer's only
# by who looks at it for some time, if the clock of that one was wrong.
_LEADERS_SECONDS = 30.0

CALLED = ""
"""What is told to one whose turn it is to lead."""


class QueueAway(TransientError):
    """The queue of ready batches does not answer."""


class FenceDown(Exception):
    """Another process asked, and found that a batch may not become visible."""


@dataclass(frozen=True, slots=True)
class QueuedBatch:
    """A ready batch in the queue.

    Attributes:
        id: orders entries by their age.
        fence: the token.
        batch: as text.
    """

    id: str
    fence: str
    batch: str


class ReadyQueue(Protocol):
    """Where the batches lie that wait for a commit of one repository.

    Every method raises QueueAway.

    Attributes:
        patience_seconds: how long a batch is left there.
    """

    patience_seconds: float

    def add(self, fence: str, batch: str) -> str:
        """Lay a batch down; return the id of its entry."""

    def entries(self) -> list[QueuedBatch]:
        """Return all entries, oldest first."""

    def answer(self, answers: Mapping[str, str]) -> None:
        """Take entries out, by their ids, and tell their owners why."""

    def call(self) -> None:
        """Tell the owner of the oldest entry that the lock is free: ``CALLED``."""

    def wait(self, entry_id: str, seconds: float) -> str | None:
        """Return what the owner of an entry is told; ``None`` if nothing in time."""

    def withdraw(self, entry_id: str) -> None:
        """Take an entry out that nobody waits for any more."""

    def standing(self, fences: Sequence[str]) -> list[bool]:
        """Tell of each fence whether it holds."""


class GroupCommit:
    """Commits batches to one repository, together with those of other processes.

    Args:
        repository: to commit to.
        queue: which all processes that commit to it share.
    """

    def __init__(self, repository: Repository, queue: ReadyQueue) -> None:
        self._repository = repository
        self._queue = queue

    def commit(self, batch: Batch, fence: Fence) -> Revision:
        """Make a batch visible.

        Returns:
            The revision that it is visible in.

        Raises:
            RepositoryBusy: nobody could commit in time.
            FormatError: as ``Repository.commit``; nothing of the batch is visible.
        """
        own = _Own(batch, fence)
        if fence.token is None:
            return self._lead(own, None)
        with suppress(_LockHeld):
            return self._lead(own, 0)
        try:
            # The leader, on another machine perhaps, must find what is named.
            self._repository.storage.sync()
            own.entry_id = self._queue.add(fence.token, batch.encode())
            return self._follow(own, fence.token)
        except QueueAway:
            # What lies in the queue can wait; this one need not.
            return self._lead(_Own(batch, fence), None)
        finally:
            if own.entry_id is not None:
                with suppress(QueueAway):
                    self._queue.withdraw(own.entry_id)

    def _follow(self, own: "_Own", token: str) -> Revision:
        began = time.monotonic()
        deadline = began + self._queue.patience_seconds
        while True:
            now = time.monotonic()
            is_patient = now > began + _LEADERS_SECONDS
            # The first time because the lock may have become free before the entry was
            # there to be seen.
            try:
                return self._lead(own, deadline - now if is_patient else 0)
            except _LockHeld:
                if time.monotonic() >= deadline:
                    raise
            told = self._told(own, _LOOK_AGAIN_SECONDS)
            if isinstance(told, FenceDown):
                own.fence.check()
                # It holds after all, as far as we are told.
                own.entry_id = self._queue.add(token, own.batch.encode())
            elif told is not None:
                return _result(told)

    def _lead(self, own: "_Own", patience_seconds: float | None) -> Revision:
        with ExitStack() as after:
            with self._locked(patience_seconds):
                # Called so late that those whom it does not see yet find the lock free.
                after.callback(self._call)
                told = self._told(own, 0)
                if told is None or isinstance(told, FenceDown):
                    told = self._committed(own)
            return _result(told)

    def _told(self, own: "_Own", seconds: float) -> "_Outcome | None":
        """Return what a leader made of our own entry, if it is in the queue."""
        if own.entry_id is None:
            return None
        text = self._queue.wait(own.entry_id, seconds)
        if text is None or text == CALLED:
            return None
        own.entry_id = None
        outcome = _decoded(text)
        if isinstance(outcome, ContentCollected):
            self._repository.sink.forget()
        return outcome

    def _committed(self, own: "_Own") -> "_Outcome":
        """Commit, tell the owners of all entries, and return what became of our own."""
        entries, answers = self._others(own)

        def confirm(going: Sequence[Batch]) -> Mapping[Batch, Exception]:
            refused: dict[Batch, Exception] = {}
            if own.batch in going:
                try:
                    own.fence.check()
                except Exception as error:  # noqa: BLE001 - it stops us, not the others
                    refused[own.batch] = error
            others = [batch for batch in going if batch is not own.batch]
            return refused | self._fallen(others, entries)

        committed = self._repository.commit_batches(
            [own.batch, *entries], now=int(time.time()), confirm=confirm
        )
        for batch, entry in entries.items():
            outcome = committed.left_out.get(batch, committed.revision)
            if not isinstance(outcome, QueueAway):
                answers[entry.id] = _encoded(outcome)
        if answers:
            with suppress(QueueAway):
                self._queue.answer(answers)
        return committed.left_out.get(own.batch, committed.revision)

    def _others(self, own: "_Own") -> tuple[dict[Batch, QueuedBatch], dict[str, str]]:
        """Return what lies in the queue, and answers to what nobody can read."""
        found: dict[Batch, QueuedBatch] = {}
        answers = {}
        with suppress(QueueAway):
            for entry in self._queue.entries()[:_MOST_BATCHES]:
                try:
                    if entry.id != own.entry_id:
                        found[Batch.decode(entry.batch)] = entry
                except Malformed as error:
                    answers[entry.id] = _encoded(error)
        return found, answers

    def _fallen(
        self, batches: Sequence[Batch], entries: Mapping[Batch, QueuedBatch]
    ) -> dict[Batch, Exception]:
        """Return those of the batches of others whose fences do not hold."""
        if not batches:
            return {}
        try:
            standing = self._queue.standing([entries[one].fence for one in batches])
        except QueueAway as error:
            return dict.fromkeys(batches, error)
        return {
            batch: FenceDown()
            for batch, stands in zip(batches, standing, strict=True)
            if not stands
        }

    def _call(self) -> None:
        with suppress(QueueAway):
            self._queue.call()

    @contextmanager
    def _locked(self, patience_seconds: float | None) -> Iterator[None]:
        with ExitStack() as stack:
            lock = self._repository.storage.lock(patience_seconds=patience_seconds)
            try:
                stack.enter_context(lock)
            except RepositoryBusy as error:
                raise _LockHeld(str(error)) from error
            yield


class _LockHeld(RepositoryBusy):
    """Somebody else has the lock, as opposed to having been faster without it."""


@dataclass(slots=True)
class _Own:
    """What this process commits, and its entry while that is in the queue."""

    batch: Batch
    fence: Fence
    entry_id: str | None = None


_Outcome = Revision | Exception


def _result(outcome: _Outcome) -> Revision:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


# An answer is JSON: a revision; or the name of an error and what it says; or neither,
# if the fence does not hold.


def _encoded(outcome: _Outcome) -> str:
    if isinstance(outcome, Revision):
        number, root, timestamp = astuple(outcome)[:3]
        return json.dumps({"revision": [number, str(root), timestamp]})
    if isinstance(outcome, FormatError):
        return json.dumps({"error": type(outcome).__name__, "message": str(outcome)})
    return json.dumps({})


def _decoded(text: str) -> _Outcome:
    said = json.loads(text)
    if "revision" in said:
        number, root, timestamp = said["revision"]
        return Revision(number, ContentHash.parse(root), timestamp, is_new=True)
    if "error" in said:
        kinds = {kind.__name__: kind for kind in _kinds(FormatError)}
        return kinds.get(said["error"], FormatError)(said["message"])
    return FenceDown()


def _kinds(error: type[FormatError]) -> Iterator[type[FormatError]]:
    """Yield an error and all that are kinds of it."""
    yield error
    for kind in error.__subclasses__():
        yield from _kinds(kind)
