"""Who may see which image: the operator all of them, strangers what is open to all.

Routes that answer strangers ask here and not the ledger, so that a page that somebody
adds shows no more than the others. What strangers may see is decided in
``workers/ledger/open_images.py``; of what they see, a reason that may name somebody
else's is put into words of ours.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Protocol, TypeVar

from webhook.web.login import Login
from workers.ledger import (
    ImagePage,
    ImageRecord,
    Ledger,
    LiveRecord,
    OpenImages,
    RunRecord,
    State,
)
from workers.policy import Policy, PolicyFile
from workers.reference import InvalidReference, Reference

NOT_FOR_ALL = (
    "its registry did not give it, or this service had a trouble; the operator can read"
    " which"
)

# Of strangers' own inventions, too: they may ask for any name.
_MOST_REMEMBERED = 20_000

_Told = TypeVar("_Told", ImageRecord, RunRecord)


class Images(Protocol):
    """What may be asked about images; see ``Ledger``, which is one of its kinds."""

    def image(self, reference: str) -> ImageRecord | None:
        """Return what is known of a reference."""

    def images(
        self,
        offset: int = 0,
        limit: int = 100,
        *,
        state: State | None = None,
        search: str | None = None,
    ) -> ImagePage:
        """List references, the newest change first; ``search`` is a part of a name."""

    def counts(self) -> dict[State, int]:
        """Return how many references are in each state; every state is there."""

    def runs(self, reference: str, limit: int = 50) -> list[RunRecord]:
        """Return the last finished runs of a reference, newest first."""

    def lives(self, reference: str, limit: int = 100) -> list[LiveRecord]:
        """Return which digest was live from when on, newest first."""


class Audience:
    """Knows what whoever sends the current request may see.

    Attributes:
        strangers: what everybody may see; for answers that others keep and pass on.

    Args:
        ledger: has all images.
        open_images: has those that are open to all.
        login: knows the operator.
    """

    def __init__(self, ledger: Ledger, open_images: OpenImages, login: Login) -> None:
        self._ledger = ledger
        self._login = login
        self.strangers: Images = _ForStrangers(open_images)

    @property
    def is_operator(self) -> bool:
        """Whether the current request is the operator's."""
        return self._login.identity().is_operator

    def images(self) -> Images:
        """Return the images that the current request may be answered from."""
        return self._ledger if self.is_operator else self.strangers


class PolicyMemory:
    """What the policy in force says of names, remembered for as long as it is in force.

    Args:
        policy_file: decides.
    """

    def __init__(self, policy_file: PolicyFile) -> None:
        self._file = policy_file
        self._known: tuple[Policy, dict[str, bool]] = (Policy(), {})

    def allowed(self, references: Collection[str]) -> set[str]:
        """Return those of some references that would be published."""
        policy = self._file.current()
        before, known = self._known
        if policy is not before or len(known) > _MOST_REMEMBERED:
            known = {}
            self._known = (policy, known)
        for reference in references:
            if reference not in known:
                known[reference] = _is_allowed(policy, reference)
        return {reference for reference in references if known[reference]}


def _is_allowed(policy: Policy, reference: str) -> bool:
    try:
        parsed = Reference.parse(reference)
    except InvalidReference:
        return False  # refused under a name that no registry could have given
    return policy.decide(parsed).allowed


class _ForStrangers:
    """The images that are open to all, with what may be said of them to all."""

    def __init__(self, open_images: OpenImages) -> None:
        self._open = open_images
        self.counts = open_images.counts
        self.lives = open_images.lives

    def image(self, reference: str) -> ImageRecord | None:
        found = self._open.image(reference)
        return None if found is None else _told(found)

    def images(
        self,
        offset: int = 0,
        limit: int = 100,
        *,
        state: State | None = None,
        search: str | None = None,
    ) -> ImagePage:
        page = self._open.images(offset, limit, state=state, search=search)
        return replace(page, images=tuple(_told(each) for each in page.images))

    def runs(self, reference: str, limit: int = 50) -> list[RunRecord]:
        return [_said(run) for run in self._open.runs(reference, limit)]


def _told(image: ImageRecord) -> ImageRecord:
    last_run = None if image.last_run is None else _said(image.last_run)
    return replace(_said(image), last_run=last_run, hint=None)


def _said(record: _Told) -> _Told:
    if record.reason is None or record.is_reason_open:
        return record
    return replace(record, reason=NOT_FOR_ALL)
