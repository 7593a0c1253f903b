"""Ready batches of many processes in one commit.

Whoever is ready tries the repository's lock. Who gets it leads: it commits its own
batch and all that lie in the queue, and tells each owner what became of it. Who does
not get it lays its batch into the queue and waits to be told, or to be called to lead.
So a process that is alone never touches the queue but to look into it, and a busy
repository has few revisions, each of many images.

Nothing that the queue says is believed for what it is: others may write there.

* An entry counts only with the seal of one who may sign (``seal.py``), and only for
  what its run may change (``Scope``). What has no seal is set aside, and harms nobody.
* Only what the holder of the lock writes becomes visible, and each batch only if its
  own fence holds at that moment. The fence is data (``Fence.token``), so that it is
  asked whether or not the owner of the batch still lives. As the queue may lie about
  fences, too, what is published under the reference must be what it was when the batch
  was laid down: an entry that is put back later finds it changed.
* Nothing is taken out of the queue before its answer is there. A leader that dies
  leaves the queue as it was, and the lock goes with it: the next one that tries leads.
* A batch that a dead leader had committed already, or that was committed twice as the
  queue was away, is in force; committing it again changes nothing
  (``cvmfs/commit/committer.py``).
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from workers.cvmfs import (
    Batch,
    ContentCollected,
    InvalidChange,
    Repository,
    RepositoryBusy,
    Revision,
)
from workers.publishing.publisher import Fence
from workers.publishing.ready_entry import (
    EntryRefused,
    FenceDown,
    Outcome,
    ReadyEntry,
    new_entry_id,
    opened_answer,
    sealed_answer,
)
from workers.publishing.seal import Seal
from workers.publishing.together import QueueAway, Together, UnknownFence

log = logging.getLogger(__name__)

# So many at once keep a commit short and its memory small.
_MOST_BATCHES = 100
# How soon it is noticed that a leader died, and that the lock was not held by one.
_LOOK_AGAIN_SECONDS = 0.25
# From then on the lock is waited for: a bucket's is recognised as a dead writer's only
# by who looks at it for some time, if the clock of that one was wrong.
_LEADERS_SECONDS = 30.0


class GroupCommit:
    """Commits batches to one repository, together with those of other processes.

    Args:
        repository: to commit to.
        together: the queue, and what a run may change.
        secret: that only those know who may sign the repository.
    """

    def __init__(
        self, repository: Repository, together: Together, secret: bytes
    ) -> None:
        self._repository = repository
        self._queue = together.queue
        self._scope = together.scope
        self._together = together
        self._entry_seal = Seal(secret, repository.fqrn, "ready batch")
        self._answer_seal = Seal(secret, repository.fqrn, "what became of a batch")

    def commit(self, batch: Batch, fence: Fence) -> Revision:
        """Make a batch visible, and let its revision be known.

        Returns:
            The revision that it is visible in.

        Raises:
            RepositoryBusy: nobody could commit in time.
            InvalidChange: it changes what the run of the fence may not.
            HeadWentBack: nothing is to be built upon what is there.
            FormatError: as ``Repository.commit``; nothing of the batch is visible.
        """
        revision = self._commit(batch, fence)
        self._together.note(revision)
        return revision

    def _commit(self, batch: Batch, fence: Fence) -> Revision:
        own = _Own(batch, fence)
        if fence.token is None:
            return self._lead(own, None)
        self._check_scope(fence.token, batch)
        with suppress(_LockHeld):
            return self._lead(own, 0)
        try:
            # The leader, on another machine perhaps, must find what is named.
            self._repository.storage.sync()
            self._lay_down(own, fence.token)
            return self._follow(own, fence.token)
        except QueueAway:
            # What lies in the queue can wait; this one need not.
            return self._lead(_Own(batch, fence), None)
        finally:
            if own.entry_id is not None:
                with suppress(QueueAway):
                    self._queue.withdraw(own.entry_id)

    def _check_scope(self, token: str, batch: Batch) -> str:
        """Return the reference of a fence, whose run may make all of the changes.

        Raises:
            InvalidChange: it may not.
            UnknownFence: there is none.
        """
        reference = self._queue.reference(token)
        objection = self._scope.objection(reference, batch.changes)
        if objection is not None:
            raise InvalidChange(objection)
        return reference

    def _lay_down(self, own: "_Own", token: str) -> None:
        reference = self._queue.reference(token)
        state = self._scope.state(self._repository.read(), reference)
        entry, entry_id = ReadyEntry(token, state, own.batch), new_entry_id()
        self._queue.add(entry_id, entry.sealed(self._entry_seal, entry_id))
        own.entry_id = entry_id

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
                self._lay_down(own, token)
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

    def _told(self, own: "_Own", seconds: float) -> Outcome | None:
        """Return what a leader made of our own entry, if it is in the queue."""
        if own.entry_id is None:
            return None
        for text in self._queue.wait(own.entry_id, seconds):
            outcome = opened_answer(self._answer_seal, own.entry_id, text)
            if outcome is None:
                continue
            own.entry_id = None
            if isinstance(outcome, ContentCollected):
                self._repository.sink.forget()
            return outcome
        return None

    def _committed(self, own: "_Own") -> Outcome:
        """Commit, tell the owners of all entries, and return what became of our own."""
        outcomes: dict[str, Outcome] = {}
        entries = self._others(own, outcomes)

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
            [own.batch, *entries],
            now=int(time.time()),
            confirm=confirm,
            check_head=self._together.check_head,
        )
        for batch, (entry_id, _) in entries.items():
            outcomes[entry_id] = committed.left_out.get(batch, committed.revision)
        answers = {
            entry_id: sealed_answer(self._answer_seal, entry_id, outcome)
            for entry_id, outcome in outcomes.items()
            if not isinstance(outcome, QueueAway)
        }
        if answers:
            with suppress(QueueAway):
                self._queue.answer(answers)
        return committed.left_out.get(own.batch, committed.revision)

    def _others(
        self, own: "_Own", outcomes: dict[str, Outcome]
    ) -> dict[Batch, tuple[str, ReadyEntry]]:
        """Return the entries of others that may be committed, by their batches.

        Args:
            own: is not among them.
            outcomes: of those that may not takes what their owners are to be told.
        """
        found: dict[Batch, tuple[str, ReadyEntry]] = {}
        aside: dict[str, str] = {}
        with suppress(QueueAway):
            texts = dict(self._queue.entries(_MOST_BATCHES))
            if own.entry_id is not None:
                texts.pop(own.entry_id, None)
            head = self._repository.read() if texts else None
            for entry_id, text in texts.items():
                try:
                    entry = ReadyEntry.opened(
                        self._entry_seal, entry_id, text, now=time.time()
                    )
                    reference = self._check_scope(entry.fence, entry.batch)
                except (EntryRefused, UnknownFence) as error:
                    aside[entry_id] = str(error)
                except InvalidChange as error:
                    aside[entry_id] = str(error)
                    outcomes[entry_id] = error
                else:
                    if head and self._scope.state(head, reference) == entry.state:
                        found[entry.batch] = entry_id, entry
                    else:
                        # Put back, or in force already: its owner knows, if any.
                        outcomes[entry_id] = FenceDown()
            self._set_aside(aside)
        return found

    def _set_aside(self, entries: Mapping[str, str]) -> None:
        for entry_id, why in entries.items():
            log.warning(
                "repository=%s entry=%.40r of the queue is set aside: %s; see who else"
                " writes into Redis",
                self._repository.fqrn,
                entry_id,
                why,
            )
        if entries:
            self._queue.set_aside(entries)

    def _fallen(
        self,
        batches: Sequence[Batch],
        entries: Mapping[Batch, tuple[str, ReadyEntry]],
    ) -> dict[Batch, Exception]:
        """Return those of the batches of others whose fences do not hold."""
        fences = [entries[batch][1].fence for batch in batches]
        try:
            standing: list[bool | QueueAway] = [*self._queue.standing(fences)]
        except QueueAway:
            # One record that cannot be read harms only its own run.
            standing = [self._stands(fence) for fence in fences]
        return {
            batch: stands if isinstance(stands, QueueAway) else FenceDown()
            for batch, stands in zip(batches, standing, strict=True)
            if stands is not True
        }

    def _stands(self, fence: str) -> bool | QueueAway:
        try:
            return self._queue.standing([fence])[0]
        except QueueAway as error:
            return error

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


def _result(outcome: Outcome) -> Revision:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
