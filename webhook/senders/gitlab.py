"""The notifications of GitLab's container registry, a fork of Distribution.

It tells of a push after it has moved the tag, gives up after some retries, and waits
half a second for an answer. ``actor.user`` holds a token of whoever pushed: it is read
by nobody. GitLab.com does not let its users set this up; their own GitLab's
administrator does, in ``gitlab.rb``.

Read first: docs/spec/gitlab/notifications.md of GitLab's container-registry.
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
_SCHEMA = ("webhook.senders", "gitlab.schema.json")


def schema() -> Draft202012Validator:
    """Return the validator for the envelope; events are checked one by one."""
    return validator(*_SCHEMA)


def authenticate(request: IncomingRequest, source: SourceConfig) -> bool:
    """Check the ``Authorization`` header that the registry was told to send."""
    return authorized_by_header(request, source)


def parse(document: Any, source: SourceConfig) -> Iterator[PushEvent]:
    """Give the events of the envelope; a rename is one more kind of them."""
    return envelope.envelope_events(document, source, _event_schema())


@cache
def _event_schema() -> Draft202012Validator:
    return Draft202012Validator(load_schema(*_SCHEMA)["$defs"]["event"])
