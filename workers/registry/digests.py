"""Bytes against the digest and size that were promised for them."""

import hashlib
from typing import NoReturn

from workers.errors import TransientError
from workers.reference import parse_digest


class DigestMismatch(TransientError):
    """What arrived is not what was promised: cut short or altered on the way."""


def digest_of(data: bytes, like: str = "sha256:") -> str:
    """Return the digest of ``data``, by the algorithm of the digest ``like``."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


class Verifier:
    """Counts and hashes what streams by, and at its end compares.

    Attributes:
        size: promised, in bytes.
        received: bytes so far.
        remark: what may explain that they are others; ends a message.
    """

    def __init__(self, what: str, digest: str, size: int) -> None:
        """Begin.

        Args:
            what: the subject of a message.
            digest: promised, ``sha256:…`` or ``sha512:…``.
            size: promised, in bytes.
        """
        self._what = what
        self._digest = parse_digest(digest)
        self.size = size
        self._algorithm = digest.partition(":")[0]
        self._hash = hashlib.new(self._algorithm)
        self.received = 0
        self.remark = ""

    @property
    def missing(self) -> int:
        """Bytes until the promised size is reached."""
        return self.size - self.received

    def update(self, block: bytes) -> None:
        """Take the next bytes."""
        self._hash.update(block)
        self.received += len(block)

    def finish(self) -> None:
        """Compare.

        Raises:
            DigestMismatch: the size is another, or else the digest.
        """
        if self.missing:
            self.refuse_size(self.received)
        digest = f"{self._algorithm}:{self._hash.hexdigest()}"
        if digest != self._digest:
            raise DigestMismatch(
                f"{self._what} has other content, of digest {digest}{self.remark}"
            )

    def refuse_size(self, size: int) -> NoReturn:
        """Say that it is of another size, known before or after it all arrived.

        Raises:
            DigestMismatch: always.
        """
        raise DigestMismatch(
            f"{self._what} has {size} bytes, its descriptor promises {self.size}"
            f"{self.remark}"
        )
