"""An image as the pages show it: everything decided here, nothing in the templates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from webhook.dashboard import words
from webhook.web.image_json import cvmfs_places, visible_by
from workers.formats.format import Use
from workers.formats.formats import uses
from workers.ledger import ImageRecord, LiveRecord, Progress, RunRecord, State
from workers.reference import InvalidReference, Reference


@dataclass(frozen=True, slots=True)
class ProgressView:
    """How far a run is.

    Attributes:
        percent: None while nobody knows how much there is.
        text: the same in words, for everybody.
    """

    percent: int | None
    text: str


@dataclass(frozen=True, slots=True)
class ImageView:
    """One image for the templates.

    Attributes:
        record: what the ledger says.
        registry: host, shown more faintly than the name.
        name: repository without host.
        tag: without colon.
        words: its state in words.
        uses: where nodes find what is live, and how to use it.
        visible_by: when every client sees it; None unless it is live.
        progress: None unless it runs.
    """

    record: ImageRecord
    registry: str
    name: str
    tag: str
    words: words.StateWords
    uses: tuple[Use, ...]
    visible_by: float | None
    progress: ProgressView | None

    @property
    def is_running(self) -> bool:
        """Whether a worker is at it."""
        return self.record.state in words.RUNNING

    @property
    def stays_live(self) -> bool:
        """Whether something is live that may not be what the registry has."""
        is_other = self.record.state not in {State.LIVE, State.REMOVED}
        return is_other and self.record.live_digest is not None

    @property
    def will_retry(self) -> bool:
        """Whether we try again by ourselves."""
        return self.record.next_try is not None and not self.is_running


def image_view(record: ImageRecord, ttls: Mapping[str, int]) -> ImageView:
    """Return what the templates show of a record."""
    try:
        parsed = Reference.parse(record.reference)
        registry, name, tag = parsed.registry, parsed.repository, parsed.tag or ""
    except InvalidReference:
        # Refused under a name that no registry could have given: shown as it came.
        registry, name, tag = "", record.reference, ""
    return ImageView(
        record=record,
        registry=registry,
        name=name,
        tag=tag,
        words=_words(record),
        uses=tuple(uses(cvmfs_places(record))),
        visible_by=visible_by(record, ttls),
        progress=_progress_view(record),
    )


def _words(record: ImageRecord) -> words.StateWords:
    if record.state is State.FAILED and record.next_try is not None:
        return words.RETRYING
    if record.state is State.LIVE and record.restored_instead_of is not None:
        return words.RESTORED
    return words.STATES[record.state]


def _progress_view(record: ImageRecord) -> ProgressView | None:
    if record.state not in words.RUNNING:
        return None
    progress = record.progress or Progress()
    parts = []
    if progress.layers_total:
        parts.append(f"{progress.layers_done} of {progress.layers_total} layers")
    if progress.bytes_total:
        done, total = words.size(progress.bytes_done), words.size(progress.bytes_total)
        parts.append(f"{done} of {total}")
    percent = None
    if progress.bytes_total:
        percent = min(100, 100 * progress.bytes_done // progress.bytes_total)
    elif progress.layers_total:
        percent = min(100, 100 * progress.layers_done // progress.layers_total)
    return ProgressView(percent, ", ".join(parts))


@dataclass(frozen=True, slots=True)
class RunView:
    """One run for the history of an image.

    Attributes:
        stages: name and seconds of each stage that took place, in order.
    """

    record: RunRecord
    words: words.OutcomeWords
    seconds: float | None
    stages: tuple[tuple[str, float], ...]


def run_view(record: RunRecord) -> RunView:
    """Return what the templates show of a run."""
    by_stage = record.seconds_by_stage
    stages = tuple(
        (words.STATES[state].word, by_stage[state])
        for state in State
        if state in by_stage and state is not State.QUEUED
    )
    seconds = None if record.ended is None else record.ended - record.started
    return RunView(record, words.OUTCOMES[record.outcome], seconds, stages)


@dataclass(frozen=True, slots=True)
class LifeView:
    """A time in which a digest was live.

    Attributes:
        until: None while it is.
    """

    digest: str
    revision: int | None
    since: float
    until: float | None


def life_views(lives: Sequence[LiveRecord]) -> list[LifeView]:
    """Return when which digest was live, from the ledger's list, newest first."""
    ends = [None, *(live.since for live in lives)]
    return [
        LifeView(live.digest, live.revision, live.since, until)
        for live, until in zip(lives, ends, strict=False)
        if live.digest is not None
    ]
