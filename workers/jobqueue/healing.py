"""Connections that heal: to a Redis that failed over, restarted, or went silent.

After a failover many a proxy, service address or load balancer leaves open connections
where they are, at what is a replica now. It answers, so nothing looks broken, and every
write is refused until somebody restarts us (redis-py#460). So a reply that says so
counts as a broken connection: all are made anew, and the question is asked again. That
is safe, as nothing was done; and what a lost answer leaves open the ledger's scripts
recognise when they are repeated.

How long is asked again is one time for a question with all that it takes, connecting
included: the client's own counts, one inside the other, add up to minutes.
"""

import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from workers.jobqueue.allowance import present_allowance

T = TypeVar("T")

# Written by a server that is not the primary, or not any more, as replies and in the
# replies of scripts and transactions. Source: Redis's src/server.c (shared objects) and
# src/blocked.c (disconnectOrRedirectAllBlockedClients).
_NOT_PRIMARY = re.compile(r"(?:^|[-: ])(?:READONLY|MASTERDOWN|UNBLOCKED) ")
_KINDS = (redis.ReadOnlyError, redis.exceptions.MasterDownError)

_IS_ASKING: ContextVar[bool] = ContextVar("is_asking", default=False)


class NotPrimary(redis.ConnectionError):
    """What a connection leads to takes no writes: another server does, or soon will."""


# The base of all its kinds; at run time each kind brings it along itself.
if TYPE_CHECKING:
    from redis.connection import AbstractConnection as _Base
else:
    _Base = object


class HealingConnection(_Base):
    """What is added to a kind of connection; see the module."""

    drop_others: Callable[[], None]
    """Has the connections of the pool made anew; the pool sets it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Connect nothing yet; see the client's own."""
        super().__init__(*args, **kwargs)
        self._answer_seconds: float = kwargs["socket_timeout"]
        self._connect_seconds: float = kwargs["socket_connect_timeout"]

    def connect(self) -> None:
        """Connect, if that is not done; the pool asks for it before each question."""
        if self._sock is None:
            super().connect()  # type: ignore[no-untyped-call]

    def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """Connect, in no more than the time that is left."""
        self._limit()
        super().connect_check_health(*args, **kwargs)

    def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        """Send; it and its answer may take what time is left."""
        self._limit()
        sock: Any = self._sock
        if sock is not None:
            sock.settimeout(self.socket_timeout)
        super().send_packed_command(*args, **kwargs)  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Return the answer.

        Raises:
            NotPrimary: another server has to be asked.
        """
        try:
            return super().read_response(*args, **kwargs)
        except redis.TimeoutError:
            # Where a machine vanished, the others would each wait as long.
            self.drop_others()
            raise
        except redis.ResponseError as error:
            if not isinstance(error, _KINDS) and not _NOT_PRIMARY.search(str(error)):
                raise
            self.disconnect()  # type: ignore[no-untyped-call]
            self.drop_others()
            raise NotPrimary(f"it is a replica and takes no writes: {error}") from error

    def _limit(self) -> None:
        allowance = present_allowance()
        answer, connecting = self._answer_seconds, self._connect_seconds
        if allowance is not None:
            # Zero would mean not to wait at all, and be no time-out.
            left = max(allowance.left, 0.001)
            answer, connecting = min(answer, left), min(connecting, left)
        self.socket_timeout, self.socket_connect_timeout = answer, connecting


class HealingPool(redis.ConnectionPool):
    """A pool that can let go of what it has."""

    def make_connection(self) -> Any:
        """Make a connection that can have the others dropped."""
        connection: Any = super().make_connection()
        connection.drop_others = self.drop
        return connection

    def drop(self) -> None:
        """Have every connection made anew: the idle now, the others after their use."""
        self.disconnect_free_connections()
        self.update_active_connections_for_reconnect()


class PatientRetry(Retry):
    """Asks again for some time, and once more in any case.

    Where the work has an allowance, it ends all of this.

    Args:
        patience_seconds: from the first question.
    """

    def __init__(self, patience_seconds: float) -> None:
        super().__init__(ExponentialWithJitterBackoff(cap=1.0, base=0.05), retries=1)
        self._patience_seconds = patience_seconds

    def call_with_retry(
        self,
        do: Callable[[], T],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,  # noqa: FBT001, FBT002 - the client's own
    ) -> T:
        """Return what ``do`` does; see the client's own."""
        del is_retryable  # of a cluster's only

        def failed(error: Exception, failures: int) -> None:
            fail(error, failures) if with_failure_count else fail(error)

        if _IS_ASKING.get():
            # Whoever asks around this asks again.
            try:
                return do()
            except self._supported_errors as error:
                failed(error, 1)
                raise
        token = _IS_ASKING.set(True)
        try:
            allowance = present_allowance()
            if allowance is None:
                return self._ask(do, failed)
            with allowance.spent():
                return self._ask(do, failed)
        finally:
            _IS_ASKING.reset(token)

    def _ask(self, do: Callable[[], T], failed: Callable[[Exception, int], None]) -> T:
        allowance, began, failures = present_allowance(), time.monotonic(), 0
        while True:
            try:
                return do()
            except self._supported_errors as error:
                failures += 1
                failed(error, failures)
                # A password is not asked for again and again.
                is_once = isinstance(error, redis.AuthenticationError)
                waited = time.monotonic() - began
                if failures > 1 and (is_once or waited >= self._patience_seconds):
                    raise
                pause = self._backoff.compute(failures) if failures > 1 else 0.0
                if allowance is not None and allowance.left <= pause:
                    raise
            time.sleep(pause)
