"""The notifications of Distribution, the registry behind ``registry:2`` and ``:3``.

It tells of a push before it moves the tag, so the digest of the event is what to look
for. It repeats an event until it gets a 2xx, and holds back all later ones meanwhile.
"""

from webhook.senders.envelope import EnvelopeSender
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


SENDER = EnvelopeSender("distribution.schema.json", _setup)
