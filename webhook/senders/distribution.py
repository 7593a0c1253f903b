"""The notifications of Distribution, the registry behind ``registry:2`` and ``:3``.

It tells of a push before it moves the tag, so the digest of the event is what to look
for. It repeats an event until it gets a 2xx, and holds back all later ones meanwhile.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from webhook.senders import envelope
from webhook.senders.event import PushEvent
from webhook.senders.sender import IncomingRequest, authorized_by_header
from workers.config import SourceConfig
from workers.documents.schema_check import load_schema, validator

CONTENT_TYPES = envelope.CONTENT_TYPES
_SCHEMA = ("webhook.senders", "distribution.schema.json")


def schema() -> Draft202012Validator:
    """Return the validator for the envelope; events are checked one by one."""
    return validator(*_SCHEMA)


def authenticate(request: IncomingRequest, source: SourceConfig) -> bool:
    """Check the ``Authorization`` header that the registry was told to send."""
    return authorized_by_header(request, source)


def parse(document: Any, source: SourceConfig) -> Iterator[PushEvent]:
    """Give the events of the envelope: pushes, pulls, mounts and deletes."""
    return envelope.envelope_events(document, source, _event_schema())


@cache
def _event_schema() -> Draft202012Validator:
    return Draft202012Validator(load_schema(*_SCHEMA)["$defs"]["event"])
