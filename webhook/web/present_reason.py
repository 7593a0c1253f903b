"""Why an image is refused, by the policy that is in force.

A record keeps what the policy said when it turned the image away. Beside what the
policy says now that would contradict it, or say the same in other words.
"""

from dataclasses import replace

from workers.ledger import ImageRecord
from workers.policy import Decision

ALLOWED_NOW = (
    "it was pushed before the policy allowed it; it is asked for by itself within a"
    " minute where `reconcile` runs, and by the next push"
)


def with_present_reason(image: ImageRecord, decision: Decision) -> ImageRecord:
    """Return a record whose reason is no older than the policy.

    Args:
        image: as the ledger has it.
        decision: the policy's, now.
    """
    if not image.is_turned_away:
        return image
    return replace(image, reason=ALLOWED_NOW if decision.allowed else decision.reason)
