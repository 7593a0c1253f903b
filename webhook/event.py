"""What a notification says once the sender's dialect is taken off.

Past this module nobody looks at a sender's own field names, and every name is either
valid or marked as a problem.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PushEvent:
    """One event of a notification: a hint where to look, never a fact.

    Attributes:
        registry: canonical host, from the source's configuration.
        repository: path without host.
        tag: None where the event has none.
        digest: what the sender says; None where it says nothing.
        action: push, delete, pull, mount, rename, hint or other.
        event_id: the sender's own, the same in each retry.
        actor: who pushed, as the sender calls them.
        time: seconds since the epoch, by the sender's clock.
        media_type: of the pushed object; None where the sender does not say.
        problem: why the event cannot be used; its names are not to be trusted then.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None
    action: str = "push"
    event_id: str | None = None
    actor: str | None = None
    time: float | None = None
    media_type: str | None = None
    problem: str | None = None

    @property
    def reference(self) -> str | None:
        """The ledger's key, registry/repository:tag; None without a tag."""
        if self.tag is None or self.problem is not None:
            return None
        return f"{self.registry}/{self.repository}:{self.tag}"
