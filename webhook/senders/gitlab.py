"""The notifications of GitLab's container registry, a fork of Distribution.

It tells of a push after it has moved the tag, gives up after some retries, and waits
half a second for an answer. ``actor.user`` holds a token of whoever pushed: it is read
by nobody. GitLab.com does not let its users set this up; their own GitLab's
administrator does, in ``gitlab.rb``.

Read first: docs/spec/gitlab/notifications.md of GitLab's container-registry.
"""

from webhook.senders.envelope import LARGEST_BYTES, EnvelopeSender
from webhook.senders.sender import SenderHabits
from workers.config import SourceConfig


def _setup(url: str, source: SourceConfig) -> list[str]:
    secret = source.secrets[0].reveal()
    return [
        f"GitLab, of the registry {source.registry}: in gitlab.rb",
        "  registry['notifications'] = [{",
        f"    'name' => 'cvmfs', 'url' => '{url}',",
        "    'timeout' => '5s', 'threshold' => 5, 'backoff' => '1s',",
        f"    'headers' => {{ 'Authorization' => ['Bearer {secret}'] }} }}]",
        "or, without gitlab.rb, in its config.yml (`registry:` of GitLab's chart)",
        "  notifications:",
        "    endpoints:",
        "      - name: cvmfs",
        f"        url: {url}",
        f"        headers: {{Authorization: [Bearer {secret}]}}",
        "        timeout: 5s",
        "        threshold: 5",
        "        backoff: 1s",
    ]


# `maxretries` in the fork's docs/configuration.md; then it is dropped. An event waits
# for the one before it, and is dropped where 3000 wait.
_HABITS = SenderHabits(
    repeats=10,
    is_in_order=True,
    done=range(200, 400),
    largest_bytes=LARGEST_BYTES,
)
SENDER = EnvelopeSender("gitlab.schema.json", _setup, _HABITS)
