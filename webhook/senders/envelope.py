"""The envelope of events that Distribution invented and GitLab's fork of it kept.

Read first: docs/content/about/notifications.md and notifications/event.go of
distribution/distribution.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from webhook.senders.event import PushEvent, timestamp
from webhook.senders.sender import (
    JSON,
    IncomingRequest,
    SenderHabits,
    authorized_by_header,
)
from workers.config import SourceConfig
from workers.documents.schema_check import load_schema, schema_problems, validator

_PACKAGE = "webhook.senders"
# 2.x and GitLab send the first, 3.x the second.
EVENTS_V1 = "application/vnd.docker.distribution.events.v1+json"
EVENTS_V2 = "application/vnd.docker.distribution.events.v2+json"
CONTENT_TYPES = frozenset({EVENTS_V1, EVENTS_V2, JSON})
# An event repeats what the client called itself, up to 1 MiB (net/http,
# DefaultMaxHeaderBytes), and with `includereferences` the annotations of a manifest, up
# to 4 MiB (registry/handlers/manifests.go, maxManifestBodySize). Go's encoder writes
# each `<` as six bytes.
LARGEST_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class EnvelopeSender:
    """A sender of this envelope; see ``Sender``.

    Attributes:
        schema_name: of its JSON Schema in this folder, which has its events in
            ``$defs.event``.
        instructions: see ``Sender.setup``.
        habits: see ``Sender``.
    """

    schema_name: str
    instructions: Callable[[str, SourceConfig], list[str]]
    habits: SenderHabits

    @property
    def HABITS(self) -> SenderHabits:  # noqa: N802 - see ``Sender``
        """How the registry sends."""
        return self.habits

    @property
    def CONTENT_TYPES(self) -> frozenset[str]:  # noqa: N802 - see ``Sender``
        """Media types of the envelope, and what some proxies make of them."""
        return CONTENT_TYPES

    def schema(self) -> Draft202012Validator:
        """Return the validator for the envelope; events are checked one by one."""
        return validator(_PACKAGE, self.schema_name)

    def authenticate(self, request: IncomingRequest, source: SourceConfig) -> bool:
        """Check the ``Authorization`` header that the registry was told to send."""
        return authorized_by_header(request, source)

    def setup(self, url: str, source: SourceConfig) -> list[str]:
        """Return what to do at the registry so that it sends, line by line."""
        return self.instructions(url, source)

    def parse(self, document: Any, source: SourceConfig) -> Iterator[PushEvent]:
        """Give each event; one that is malformed is no one else's harm."""
        event_schema = _event_schema(self.schema_name)
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


@cache
def _event_schema(name: str) -> Draft202012Validator:
    return Draft202012Validator(load_schema(_PACKAGE, name)["$defs"]["event"])


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
