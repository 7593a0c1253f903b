"""A blob as a stream that vouches for what it hands out.

The last bytes are handed out only after size and digest were found right, so whoever
has read to the end has read the blob. A connection that breaks or stalls is made anew
where it broke, beginning at the registry's own URL: the signed one of its storage may
have expired meanwhile.

Source: RFC 9110 14.4 (Content-Range), 15.3.7 (206); distribution-spec "Pulling blobs".
"""

import contextlib
import io
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from workers.registry.digests import Verifier
from workers.registry.transport.answers import (
    RegistryProtocolError,
    RegistryUnavailable,
    content_length,
    is_page,
    unwished_encoding,
)
from workers.registry.transport.transport import Answer

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")
_OK = 200
_PARTIAL = 206

# Small reads would cost more in Python than in the network.
_LEAST_BLOCK = 1 << 18
_MOST_BLOCK = 1 << 20

# A connection that gave less than this for as long as a stall may take is stalled.
_SLOWEST_BYTES_PER_SECOND = 1024
# Progress that makes a broken connection count as the first one again.
_PROGRESS_BYTES = 1 << 20

_jitter = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a blob is begun again.

    Attributes:
        breaks: connections in a row that may break without bringing us forward.
        pause_seconds: before the first new connection; doubles each time.
        longest_pause_seconds: above this, also when a registry asks for it, whoever
            reads is told to come back.
    """

    breaks: int = 4
    pause_seconds: float = 0.5
    longest_pause_seconds: float = 30.0


class BlobOpener(Protocol):
    """Asks the registry for a blob from an offset on."""

    def __call__(self, offset: int, /) -> Answer:
        """Return an answer of status 200; 206 or 416 too where ``offset`` is not 0."""


class BlobStream(io.RawIOBase):
    """The bytes of one blob, verified at their end; read it in a ``with`` block."""

    def __init__(
        self,
        opener: BlobOpener,
        verifier: Verifier,
        *,
        stall_seconds: float,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the blob.

        Args:
            opener: gives the answers.
            verifier: fresh, with the promised size and digest.
            stall_seconds: see ``Timeouts``.
            patience: with broken connections.
            sleep: waits between connections.
            clock: measures how long the other side lets us wait.

        Raises:
            WorkerError: whatever ``opener`` raises, after some patience.
            DigestMismatch: the registry announces another size.
        """
        super().__init__()
        self._opener = opener
        self._verifier = verifier
        self._pace = _Pace(stall_seconds, clock)
        self._patience = patience or Patience()
        self._sleep = sleep
        self._breaks = 0
        self._received_at_break = 0
        self._is_verified = False
        self._answer: Answer | None = None
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    @property
    def received(self) -> int:
        """Bytes that have arrived so far, each counted once, to show progress."""
        return self._verifier.received

    def readable(self) -> bool:
        """Answer as every stream that can be read."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes, at least one; ``b""`` at the end.

        A block has at most 1 MiB and, unless the blob ends or ``size`` is less, at
        least 256 KiB. Without ``size`` it is the whole rest: for small blobs.

        Raises:
            DigestMismatch: this is not the blob that was asked for; what was handed
                out before is not to be used.
            RegistryUnavailable: the connection broke too often.
            WorkerError: what else a registry may answer when asked again.
        """
        if self.closed:
            raise ValueError("read of a blob that is closed")
        if size < 0:
            return b"".join(iter(lambda: self.read(_MOST_BLOCK), b""))
        try:
            return self._block(size)
        except BaseException:
            # Bytes may have been hashed that nobody got: no read may follow.
            self.close()
            raise

    def drain(self) -> None:
        """Read and verify what is left."""
        while self.read(_MOST_BLOCK):
            pass

    def close(self) -> None:
        """Let the connection go; of a blob not read to its end, nothing is verified."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None
        super().close()

    def _block(self, size: int) -> bytes:
        wanted = min(size, self._verifier.missing, _MOST_BLOCK)
        least = min(wanted, _LEAST_BLOCK)
        pieces: list[bytes] = []
        gathered = 0
        while gathered < least:
            piece = self._piece(wanted - gathered)
            self._verifier.update(piece)
            gathered += len(piece)
            pieces.append(piece)
        if not self._verifier.missing and not self._is_verified:
            self._verifier.finish()
            self._is_verified = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _piece(self, limit: int) -> bytes:
        """Return some next bytes, from as many connections as it takes."""
        while True:
            try:
                return self._arriving(limit)
            except RegistryUnavailable as error:
                self._pause(error)
                self._open()

    def _arriving(self, limit: int) -> bytes:
        """Return some next bytes of this connection, of which there must be more."""
        answer = self._answer
        if answer is None:
            raise ValueError("read of a blob that is closed")
        with self._pace.waiting():
            piece = answer.read(limit)
        if not piece:
            raise RegistryUnavailable(f"{answer.origin} ended the blob too early")
        if self._pace.is_stalled(len(piece)):
            raise RegistryUnavailable(f"{answer.origin} sends next to nothing")
        return piece

    def _open(self) -> None:
        """Connect where the stream is, with patience."""
        while True:
            try:
                self._connect()
            except RegistryUnavailable as error:
                self._pause(error)
            else:
                return

    def _connect(self) -> None:
        if self._answer is not None:
            self._answer.close()
        offset = self._verifier.received
        self._answer = self._opener(offset)
        if offset and not self._continues(self._answer, offset):
            if self._answer.status != _OK:
                self._answer.close()
                self._answer = self._opener(0)
            # What comes again was handed out and hashed: to be passed over, even if
            # it should differ. The digest is of what was handed out.
            self._check_length(self._answer)
            while offset:
                offset -= len(self._arriving(min(offset, _MOST_BLOCK)))
        elif not offset:
            self._check_length(self._answer)

    def _continues(self, answer: Answer, offset: int) -> bool:
        if answer.status != _PARTIAL:
            return False
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        return (
            match is not None
            and int(match[1]) == offset
            and match[3] in {"*", str(self._verifier.size)}
        )

    def _check_length(self, answer: Answer) -> None:
        encoding = unwished_encoding(answer.headers)
        if encoding is not None:
            # No error as such: some storages say it of bytes that are the right ones.
            self._verifier.remark = (
                f"; {answer.origin} sends it with Content-Encoding {encoding}, which"
                " was not asked for: let its proxy leave blobs alone"
            )
        length = content_length(answer.headers)
        if length is None or length == self._verifier.size:
            return
        if is_page(answer.headers):
            raise RegistryProtocolError(f"{answer.origin} sends a web page for a blob")
        self._verifier.refuse_size(length)

    def _pause(self, error: RegistryUnavailable) -> None:
        """Wait before another connection, or raise ``error`` when it was enough."""
        received = self._verifier.received
        if received - self._received_at_break >= _PROGRESS_BYTES:
            self._breaks = 0
        self._received_at_break = received
        seconds = self._patience.pause_seconds * 2**self._breaks
        # Workers that lost the same registry should not all come back at once.
        seconds *= _jitter.uniform(0.5, 1.5)
        if error.retry_after is not None:
            seconds = max(seconds, error.retry_after)
        self._breaks += 1
        if (
            self._breaks > self._patience.breaks
            or seconds > self._patience.longest_pause_seconds
        ):
            raise error
        self._sleep(seconds)


class _Pace:
    """Tells a slow connection from one that only pretends to be alive.

    Only the time spent waiting for the other side counts: whoever reads may take as
    long as it likes.
    """

    def __init__(self, stall_seconds: float, clock: Callable[[], float]) -> None:
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._waited = 0.0
        self._arrived = 0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        started = self._clock()
        try:
            yield
        finally:
            self._waited += self._clock() - started

    def is_stalled(self, arrived: int) -> bool:
        self._arrived += arrived
        if self._waited < self._stall_seconds:
            return False
        is_stalled = self._arrived < self._stall_seconds * _SLOWEST_BYTES_PER_SECOND
        self._waited, self._arrived = 0.0, 0
        return is_stalled
