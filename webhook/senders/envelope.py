"""The envelope of events that Distribution invented and GitLab's fork of it kept.

Read first: docs/content/about/notifications.md and notifications/event.go of
distribution/distribution.
"""

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator

from webhook.senders.event import PushEvent, timestamp
from webhook.senders.sender import JSON
from workers.config import SourceConfig
from workers.documents.schema_check import schema_problems

# 2.x and GitLab send the first, 3.x the second.
EVENTS_V1 = "application/vnd.docker.distribution.events.v1+json"
EVENTS_V2 = "application/vnd.docker.distribution.events.v2+json"
CONTENT_TYPES = frozenset({EVENTS_V1, EVENTS_V2, JSON})


def envelope_events(
    document: Any, source: SourceConfig, event_schema: Draft202012Validator
) -> Iterator[PushEvent]:
    """Give each event of an envelope; one that is malformed is no one else's harm."""
    for event in document["events"]:
        if event_schema.is_valid(event):
            yield _event(event, source)
        else:
            where, text = schema_problems(event_schema, event)[0]
            key = ".".join(str(part) for part in where) or "event"
            yield PushEvent.read(
                registry=source.registry,
                repository=None,
                action="other",
                problem=f"{key}: {text}",
            )


def _event(event: Any, source: SourceConfig) -> PushEvent:
    """Read one event.

    ``request.host`` is whatever name the pusher typed, and ``source.addr`` is a
    container's own: which registry speaks is the configuration's to say. Of the actor
    only the name is taken: GitLab puts a token of the user beside it.
    """
    target = event["target"]
    return PushEvent.read(
        registry=source.registry,
        repository=target["repository"],
        # An event without a tag may carry an empty one; Go's encoder decides.
        tag=target.get("tag") or None,
        digest=target.get("digest") or None,
        action=event["action"],
        event_id=event.get("id"),
        actor=event.get("actor", {}).get("name") or None,
        time=timestamp(event.get("timestamp")),
        media_type=target.get("mediaType") or None,
        is_id_unique=True,
    )
