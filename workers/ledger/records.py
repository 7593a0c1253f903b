"""What the ledger keeps: the value types, without a word about Redis.

Essential reading, in order: ``State`` (what an author of an image sees),
``ImageRecord`` (what is known of one reference), ``deliveries.py`` (what the front says
and hears), ``Lease`` (what a job holds while it works).

Times are seconds since the epoch. References are canonical strings,
``registry/repository:tag``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from workers.ledger.deliveries import Hint, Verdict

STOPS_ALLOWED = 2
"""After so many stops in a row a run completes, whatever is pushed meanwhile."""


class State(StrEnum):
    """Where a reference stands. Live: the registry's present digest is published."""

    QUEUED = "queued"
    RESOLVING = "resolving"
    FETCHING = "fetching"
    CONVERTING = "converting"
    PUBLISHING = "publishing"
    LIVE = "live"
    REFUSED = "refused"
    FAILED = "failed"
    REMOVED = "removed"

    @property
    def is_stage(self) -> bool:
        """Whether a run is in it, and so spends time there."""
        return self in _STAGES


_STAGES = (State.RESOLVING, State.FETCHING, State.CONVERTING, State.PUBLISHING)


class Outcome(StrEnum):
    """How one run ended."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    SUPERSEDED = "superseded"
    REFUSED = "refused"
    FAILED = "failed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; totals are 0 until they are known."""

    layers_done: int = 0
    layers_total: int = 0
    bytes_done: int = 0
    bytes_total: int = 0


@dataclass(frozen=True, slots=True)
class LiveImage:
    """What a repository says of an image that is live in it.

    Attributes:
        places: as in ``ImageRecord``.
        size: as in ``ImageRecord``.
        notes: as in ``ImageRecord``.
        converter: as in ``ImageRecord``.
    """

    places: Mapping[str, str]
    size: int | None = None
    notes: tuple[str, ...] = ()
    converter: int | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended, as it tells the ledger.

    Attributes:
        outcome: SUPERSEDED always leads to another run.
        digest: the registry's, if the run learnt it and no stage said so.
        reason: one line; why not, or what is to be known of a success.
        revision: that made it live.
        repository: fqrn.
        live: what is said of what is live after a success.
        next_try: FAILED is not final: try again at this time, unless it is wanted again
            before.
        restored_instead_of: the registry's digest, where another is live in its place.
        gone_since: when the registry was first found not to have it any more.
        is_public: as in ``ImageRecord``; None: nothing was learnt of that.
        is_reason_open: as in ``ImageRecord``.
        is_given_up: FAILED is final only because it was tried often enough.
        is_counted: whether it was an attempt; with ``next_try`` only.
    """

    outcome: Outcome
    digest: str | None = None
    reason: str | None = None
    revision: int | None = None
    repository: str | None = None
    live: LiveImage | None = None
    next_try: float | None = None
    restored_instead_of: str | None = None
    gone_since: float | None = None
    is_public: bool | None = None
    is_reason_open: bool = False
    is_given_up: bool = False
    is_counted: bool = True


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of a job over a reference.

    Attributes:
        id: the token of its lease.
        number: the count of requests that it answers.
        outcome: None while it runs. A run that died is FAILED and says so.
        attempt: 1 for the first run for this number.
        source: where the request came from.
        seconds_by_stage: time spent in each state that has ended.
        is_reason_open: as in ``ImageRecord``.
    """

    id: str
    number: int
    outcome: Outcome | None
    started: float
    ended: float | None = None
    digest: str | None = None
    reason: str | None = None
    attempt: int = 1
    next_try: float | None = None
    source: str = ""
    worker: str = ""
    seconds_by_stage: Mapping[str, float] = field(default_factory=dict)
    is_reason_open: bool = False


@dataclass(frozen=True, slots=True)
class LiveRecord:
    """From when on a digest was live under a reference.

    Attributes:
        digest: None: from then on nothing was.
        revision: of the repository, the one that made it live.
        repository: fqrn.
    """

    digest: str | None
    since: float
    revision: int | None = None
    repository: str | None = None


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """What is known of one reference.

    Attributes:
        digest: what the registry said last.
        live_digest: what is published; None when nothing is.
        repository: the CVMFS repository (fqrn) it is published in.
        revision: of that repository, the one that made ``live_digest`` live.
        places: where it is, by format: paths in the repository, and the names that
            engines are given.
        size: bytes of the layers of ``live_digest`` as the registry has them, of the
            platform for clients that say none; None: not known.
        notes: what has to be known of ``live_digest``, in short sentences.
        converter: version of our conversion that made ``live_digest``; None: of a time
            when it was not kept.
        since: when the state began; for a live image when its digest went live, so a
            look that finds it unchanged does not alter it.
        reason: why it is refused or failed.
        requested: how often it was asked for.
        started: ``requested`` when the last run began.
        done: the highest number that a run has answered for good. Work is owed exactly
            while ``requested > done``.
        overtaken: runs in a row that stopped because of a newer push.
        attempts: runs in a row for the same number.
        next_try: when it is tried again after a failure that may pass.
        is_running: a job holds the lease at this moment.
        restored_instead_of: the registry's digest in whose place ``live_digest`` was
            restored; the image counts as live until the registry has a third one.
        gone_since: when the registry was first found not to have it any more.
        moved_since: when the name began to lead to ``live_digest``. Publishing the same
            again, in other formats for instance, does not alter it.
        last_run: the current run while one runs, else the one before.
        is_public: the registry has let a client without credentials have it; until a
            later look finds otherwise.
        was_live: it is live, or was once: CVMFS has shown its name to everybody.
        is_reason_open: anybody may read the reason, because it speaks of nothing but
            the image. False for what names a machine, an address or somebody else.
        given_up: when it was given up for trouble around the image, if it was and
            nobody has asked for it since.
        order: what the newest request wants; see ``orders.py``.
    """

    reference: str
    state: State
    since: float
    digest: str | None = None
    live_digest: str | None = None
    repository: str | None = None
    revision: int | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    notes: tuple[str, ...] = ()
    converter: int | None = None
    reason: str | None = None
    progress: Progress | None = None
    requested: int = 0
    started: int = 0
    done: int = 0
    overtaken: int = 0
    attempts: int = 0
    next_try: float | None = None
    hint: Hint | None = None
    last_run: RunRecord | None = None
    is_running: bool = False
    restored_instead_of: str | None = None
    gone_since: float | None = None
    moved_since: float | None = None
    is_public: bool = False
    was_live: bool = False
    is_reason_open: bool = False
    given_up: float | None = None
    order: str | None = None

    @property
    def is_owed(self) -> bool:
        """Whether a run for it is under way, waits, or will be tried again."""
        return self.requested > self.done

    @property
    def is_turned_away(self) -> bool:
        """Whether it is refused by its name alone, before its registry was asked.

        Its reason is then what the policy of that time said.
        """
        run = self.last_run
        is_by_run = (
            run is not None
            and run.outcome is Outcome.REFUSED
            and run.digest is not None
            and run.reason == self.reason
        )
        return self.state is State.REFUSED and not is_by_run


@dataclass(frozen=True, slots=True)
class ImagePage:
    """A part of a listing, newest change first; ``total`` counts all that match."""

    total: int
    images: tuple[ImageRecord, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """One change of a state.

    Attributes:
        id: position in the stream of events; hand it back as ``after``.
    """

    id: str
    time: float
    reference: str
    state: State
    reason: str | None = None
    digest: str | None = None
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class LedgerCounters:
    """What happened since the ledger began; numbers that only grow.

    Attributes:
        runs: ended, by outcome.
        seconds: that runs spent, by state.
        deliveries: by name of the source.
        events: of deliveries, by source and verdict.
    """

    runs: Mapping[Outcome, int]
    seconds: Mapping[State, float]
    deliveries: Mapping[str, int]
    events: Mapping[tuple[str, Verdict], int]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on one reference, held by one job.

    Attributes:
        token: secret of the holder; every later call is checked against it.
        number: the ``requested`` that this run answers.
        attempt: 1 for the first run for this number.
        overtaken: stops in a row before this run.
        hint: what the newest event said when the run began.
        forced: rebuild even what is unchanged.
        order: as in ``Wanted``.
        hint_age: seconds from when we took the hint to the begin of the run; infinite
            for what is no news.
    """

    reference: str
    token: str
    number: int
    attempt: int
    overtaken: int
    hint: Hint | None
    forced: bool
    order: str | None = None
    hint_age: float = math.inf


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a run is wanted still.

    Attributes:
        is_overtaken: it should stop before it publishes; also when its lease is lost.
        doubted: the newest request, if that says no other digest, so that only the
            registry knows whether what the run works on is what it asks for.
    """

    is_overtaken: bool
    doubted: int | None = None
