"""Docker Hub's repository webhook.

It signs nothing and sends no header of the receiver's choice, so the secret is part of
the URL. It names no digest; several identical notifications come of one push for
several platforms. ``callback_url`` is never called: it is whatever the body says.

Read first: https://docs.docker.com/docker-hub/repos/manage/webhooks/
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from jsonschema import Draft202012Validator

from webhook.senders.event import PushEvent, seconds
from webhook.senders.sender import JSON, IncomingRequest, SenderHabits, is_one_of
from workers.config import SourceConfig
from workers.documents.schema_check import validator

CONTENT_TYPES = frozenset({JSON})
# Nothing is said of a second try; the page of the webhook shows the answer.
HABITS = SenderHabits(repeats=0, is_in_order=False)


def schema() -> Draft202012Validator:
    """Return the validator for the body."""
    return validator("webhook.senders", "dockerhub.schema.json")


def authenticate(request: IncomingRequest, source: SourceConfig) -> bool:
    """Check the secret in the URL."""
    given = request.path_secret or ""
    return is_one_of(given.encode("utf-8", "surrogatepass"), source.secrets)


def setup(url: str, source: SourceConfig) -> list[str]:
    """Return the URL to paste."""
    return [
        "Docker Hub: on a repository's page, Webhooks, paste this URL:",
        f"  {url}/{source.secrets[0].reveal()}",
    ]


def parse(document: Any, source: SourceConfig) -> Iterator[PushEvent]:
    """Give the one push that the body tells of."""
    push = document["push_data"]
    event = PushEvent.read(
        registry=source.registry,
        repository=document["repository"]["repo_name"],
        tag=push.get("tag"),
        actor=push.get("pusher"),
        time=seconds(push.get("pushed_at")),
        media_type=push.get("media_type"),
    )
    # The body has no id. Two pushes within a second share this one, so it may name an
    # event but never serve to drop one.
    time = "" if event.time is None else int(event.time)
    name = f"dockerhub|{event.repository}|{event.tag or ''}|{time}"
    yield replace(event, event_id=hashlib.sha256(name.encode()).hexdigest())
