"""The notifications of Distribution, the registry behind ``registry:2`` and ``:3``.

It tells of a push before it moves the tag, so the digest of the event is what to look
for. It repeats an event until it gets a 2xx, and holds back all later ones meanwhile.

Read first: notifications/sinks.go and http.go of distribution/distribution.
"""

from webhook.senders.envelope import LARGEST_BYTES, EnvelopeSender
from webhook.senders.sender import SenderHabits
from workers.config import SourceConfig


def _setup(url: str, source: SourceConfig) -> list[str]:
    secret = source.secrets[0].reveal()
    return [
        f"Distribution registry {source.registry}: in its config.yml",
        "  notifications:",
        "    endpoints:",
        "      - name: cvmfs",
        f"        url: {url}",
        f"        headers: {{Authorization: [Bearer {secret}]}}",
        "        timeout: 5s",
        "        threshold: 5",
        "        backoff: 1s",
        "        ignoredmediatypes: [application/octet-stream]",
    ]


# What is 2xx or 3xx is accepted; its retrying sink never drops an event, and writes one
# after the other.
_HABITS = SenderHabits(
    repeats=None,
    is_in_order=True,
    done=range(200, 400),
    largest_bytes=LARGEST_BYTES,
)
SENDER = EnvelopeSender("distribution.schema.json", _setup, _HABITS)
