"""The errors of the core, by the one question that decides what happens next.

Would a retry help? ``run/retrying.py`` is the only place that asks.

    WorkerError
    ├── TransientError     trying again later may help
    └── PermanentError     trying again will not help

Each leaf stands beside the code that raises it. A message is one line that names the
thing, with the offending value, and the mend; the author of an image reads it as it is.
"""

from typing import ClassVar


class WorkerError(Exception):
    """Anything that a person is told about: its text is the one-line reason.

    Attributes:
        is_open: anybody may read the text, because it speaks of nothing but the image
            and what its author did. What else may name machines, addresses and projects
            of others is for the operator; a class that does not say is.
    """

    is_open: ClassVar[bool] = False


class TransientError(WorkerError):
    """What may pass by itself: a registry that is down, a lock that is held.

    Attributes:
        retry_after: seconds that the other side asked us to wait, if it did.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentError(WorkerError):
    """What no retry mends: a wrong name, a broken image, a refused platform."""
