"""The errors of the core, by the one question that decides what happens next.

Would a retry help? ``run/retrying.py`` is the only place that asks.

    WorkerError
    ├── TransientError     trying again later may help
    │   └── Hindrance      once somebody has mended what is around the image
    └── PermanentError     trying again will not help: the image's own bytes, the
                           policy's no, or what a person has asked for

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


class Hindrance(TransientError):
    """A clear no of what is around the image: a login, a certificate, a proxy's page.

    It comes again at once for who asks again at once, and it is not the image's fault;
    nobody tells us when it is mended, so it is tried again as long as the image is
    wanted.
    """


class PermanentError(WorkerError):
    """What no retry mends: a wrong name, a broken image, a refused platform."""


Told = type[WorkerError] | tuple[type[WorkerError], ...]
"""What an ``except`` takes."""

ANSWERED: tuple[type[WorkerError], ...] = (PermanentError, Hindrance)
"""An answer, whatever it was, of who is there: no reason to leave them alone."""
