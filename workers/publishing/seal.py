"""A seal on what leaves us through Redis and comes back to be signed.

Redis carries work between processes, and others than they may be able to write there.
So a text that becomes a commit is believed only with a code that takes a key to make,
and that key only those have who may sign the repository anyway. Each kind of publisher
has such a secret of its own, and derives the key from it.

Source: RFC 2104 (HMAC), RFC 5869 (HKDF).
"""

import hmac

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_KEY_BYTES = 32


class BrokenSeal(Exception):
    """A text that nobody sealed who may sign, or not for this use."""


class Seal:
    """Seals texts of one kind for one repository.

    Args:
        secret: that only those know who may sign the repository.
        fqrn: of the repository.
        purpose: what the texts are; those of one purpose hold for no other.
    """

    def __init__(self, secret: bytes, fqrn: str, purpose: str) -> None:
        label = f"cvmfs-webhook/{purpose}/{fqrn}".encode()
        self._key = HKDF(hashes.SHA256(), _KEY_BYTES, None, label).derive(secret)

    def close(self, place: str, text: str) -> str:
        """Return a text sealed for one place, such as one entry of a queue."""
        return f"{self._code(place, text)}\n{text}"

    def open(self, place: str, sealed: str) -> str:
        """Return the text that was sealed for a place.

        Raises:
            BrokenSeal: its code is not right for this place.
        """
        code, _, text = sealed.partition("\n")
        # Bytes, because text that is no ASCII cannot be compared in constant time.
        if not hmac.compare_digest(_bytes(code), _bytes(self._code(place, text))):
            raise BrokenSeal("nobody who may sign has written it")
        return text

    def _code(self, place: str, text: str) -> str:
        data = b"%d:%s%s" % (len(_bytes(place)), _bytes(place), _bytes(text))
        return hmac.digest(self._key, data, "sha256").hex()


def _bytes(text: str) -> bytes:
    # What Redis gave may be no UTF-8, and is then decoded in this way.
    return text.encode("utf-8", "surrogateescape")
