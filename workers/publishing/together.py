"""What processes need that commit to one repository together; see ``group.py``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from workers.cvmfs import Change, RepositoryManifest, Revision
from workers.errors import TransientError
from workers.publishing.publisher import PublishedTree

CALLED = ""
"""What is told to one whose turn it is to lead."""


class QueueAway(TransientError):
    """The queue of ready batches does not answer."""


class UnknownFence(Exception):
    """A token that no fence of ours has."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run over one reference may change; the layout's to say.

    Attributes:
        objection: says, of a reference and changes, why they are not all its own; None
            if they are.
        state: says of a tree what is published there under a reference: another text
            whenever a publication or a removal has changed that.
    """

    objection: Callable[[str, Sequence[Change]], str | None]
    state: Callable[[PublishedTree, str], str]


class ReadyQueue(Protocol):
    """Where the batches lie that wait for a commit of one repository.

    Every method raises QueueAway.

    Attributes:
        patience_seconds: how long a batch is left there.
    """

    patience_seconds: float

    def add(self, entry_id: str, entry: str) -> None:
        """Lay a sealed entry down; ids are ordered by age."""

    def entries(self, most: int) -> Mapping[str, str]:
        """Return the oldest entries by id, oldest first, and not more than ``most``."""

    def set_aside(self, entries: Mapping[str, str]) -> None:
        """Take entries out, by their ids, that nobody may commit, and note why."""

    def answer(self, answers: Mapping[str, str]) -> None:
        """Take entries out, by their ids, and tell their owners why."""

    def call(self) -> None:
        """Tell the owner of the oldest entry that the lock is free: ``CALLED``."""

    def wait(self, entry_id: str, seconds: float) -> Sequence[str]:
        """Return what the owner of an entry is told; nothing if nothing in time."""

    def withdraw(self, entry_id: str) -> None:
        """Take an entry out that nobody waits for any more."""

    def standing(self, fences: Sequence[str]) -> list[bool]:
        """Tell of each fence whether it holds."""

    def reference(self, fence: str) -> str:
        """Return the reference whose run a fence lets publish.

        Raises:
            UnknownFence: it is no token of ours.
        """


@dataclass(frozen=True, slots=True)
class Together:
    """What processes need to commit to a repository together.

    Attributes:
        queue: which all of them share.
        scope: what each run may change.
        check_head: raises HeadWentBack where nothing is to be built upon a head.
        note: is told each revision in which a batch is visible.
    """

    queue: ReadyQueue
    scope: Scope
    check_head: Callable[[RepositoryManifest], None] = lambda _: None
    note: Callable[[Revision], None] = lambda _: None
