"""What an event means for us, before anything is done about it. Pure."""

from dataclasses import dataclass

from webhook.senders.event import PushEvent
from workers.ledger import Verdict
from workers.media_types import INDEX_TYPES, MANIFEST_TYPES, SCHEMA_1_TYPES
from workers.policy import Policy
from workers.reference import Reference

# What else is pushed is a part of an image. Schema 1 is among them so that the author
# hears that it is too old.
IMAGE_TYPES = INDEX_TYPES | MANIFEST_TYPES | SCHEMA_1_TYPES


@dataclass(frozen=True, slots=True)
class Judgement:
    """An event with what is to become of it.

    Attributes:
        event: as it was read.
        verdict: QUEUED, REFUSED or IGNORED.
        reason: one line, for whoever pushed.
        is_about_image: false for parts of images and for pulls, which registries tell
            of by the thousand and nobody looks up.
    """

    event: PushEvent
    verdict: Verdict
    reason: str
    is_about_image: bool = True

    @property
    def name(self) -> str | None:
        """What the event speaks of, as far as it has valid names."""
        event = self.event
        if event.problem is not None:
            return None
        tag = "" if event.tag is None else f":{event.tag}"
        digest = "" if tag or event.digest is None else f"@{event.digest}"
        return f"{event.registry}/{event.repository}{tag}{digest}"


def judge(event: PushEvent, policy: Policy) -> Judgement:
    """Say what is to become of an event."""
    if event.problem is not None:
        return Judgement(event, Verdict.REFUSED, event.problem)
    if event.action == "delete" and event.tag is not None:
        return _judge_deletion(event, event.tag, policy)
    if event.action != "push":
        return Judgement(
            event,
            Verdict.IGNORED,
            f"{event.action} starts nothing",
            is_about_image=event.action not in {"pull", "mount"},
        )
    if event.media_type is not None and event.media_type not in IMAGE_TYPES:
        reason = f"{event.media_type} is no image manifest"
        return Judgement(event, Verdict.IGNORED, reason, is_about_image=False)
    if event.tag is None:
        return Judgement(event, Verdict.IGNORED, "without a tag nothing is published")
    decision = policy.decide(Reference(event.registry, event.repository, event.tag))
    verdict = Verdict.QUEUED if decision.allowed else Verdict.REFUSED
    return Judgement(event, verdict, decision.reason)


def _judge_deletion(event: PushEvent, tag: str, policy: Policy) -> Judgement:
    """Say whether the registry is to be asked if a tag is gone."""
    decision = policy.decide(Reference(event.registry, event.repository, tag))
    if not decision.allowed or decision.rule is None:
        return Judgement(event, Verdict.IGNORED, f"{decision.reason}; nothing is done")
    if decision.rule.keep is None:
        reason = f"{decision.rule} has no `keep:`, so what is gone stays published"
        return Judgement(event, Verdict.IGNORED, reason)
    return Judgement(
        event, Verdict.QUEUED, f"a look whether it is gone: {decision.rule}"
    )
