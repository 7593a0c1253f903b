"""What senders send, as documents, and how they are read."""

import json
from typing import Any

from webhook.senders import SENDERS
from webhook.senders.envelope import EnvelopeSender
from webhook.senders.event import PushEvent
from webhook.senders.notification import read_notification
from workers.config import Limits, Secret, SourceConfig
from workers.config.source_kinds import SOURCE_KINDS

DIGEST = "sha256:4afff550708506c5b8b7384ad10d401a02b29ed587cb2730cb02753095b5178d"
INDEX = "application/vnd.oci.image.index.v1+json"
# These prove themselves by a header, and send Distribution's envelope of events.
HEADER_KINDS = sorted(
    kind for kind, sender in SENDERS.items() if isinstance(sender, EnvelopeSender)
)


def source(kind: str, *secrets: str) -> SourceConfig:
    registry = SOURCE_KINDS[kind].registry or "registry.example"
    return SourceConfig(
        "name", kind, tuple(Secret(s) for s in secrets or ("s3cret",)), registry
    )


def read(kind: str, document: object) -> list[PushEvent]:
    """Read a document as a notification of this kind."""
    body = json.dumps(document).encode()
    return read_notification(body, SENDERS[kind], source(kind), Limits())


def event(**more: Any) -> dict[str, Any]:
    """Return an event of an envelope: a push of a tag, but for what is given."""
    target = {
        "mediaType": INDEX,
        "digest": DIGEST,
        "repository": "team/web",
        "tag": "1.4.2",
    }
    target |= more.pop("target", {})
    return {"id": "320678d8", "action": "push", "target": target, **more}
