"""The letter form that manifest and whitelist share: a text, its hash, a signature.

The file is ``text``, a line ``--``, a line with the hash of the text, and the raw bytes
of a signature up to the end. The hash covers the text with its last newline; what is
signed is the hash as text, without a newline. *How* it is signed differs between the
two, see ``manifest.py`` and ``whitelist.py``.

Source: cvmfs/crypto/signature.cc; cvmfs-format.md sections 5.1 and 5.2, traps 1 and 2.
"""

from typing import NamedTuple

from workers.cvmfs.errors import Malformed, NotTrusted
from workers.cvmfs.values.hash import ContentHash

_SEPARATOR = b"\n--\n"


class SignedText(NamedTuple):
    """The three parts of a signed file.

    Attributes:
        text: the lines before the separator, each with its newline.
        hash: of the text; its algorithm is the repository's.
        signature: raw bytes.
    """

    text: bytes
    hash: ContentHash
    signature: bytes

    @classmethod
    def parse(cls, data: bytes) -> "SignedText":
        """Take a signed file apart. That hash and signature are right is not checked.

        Raises:
            Malformed: a part is missing.
        """
        lines, separator, rest = data.partition(_SEPARATOR)
        line, newline, signature = rest.partition(b"\n")
        if not (lines and separator and newline and signature):
            raise Malformed("not a signed file: a part is missing")
        digest = ContentHash.parse(line.decode("ascii", errors="replace"))
        return cls(lines + b"\n", digest, signature)

    @property
    def to_sign(self) -> bytes:
        """The bytes under the signature."""
        return str(self.hash).encode("ascii")

    def check_hash(self, what: str) -> None:
        """Compare the hash with the text.

        Raises:
            NotTrusted: the text is not the one that was signed.
        """
        if ContentHash.of(self.text, self.hash.algorithm) != self.hash:
            raise NotTrusted(f"{what}: its text does not have the hash that was signed")

    def file(self) -> bytes:
        """Put the signed file together."""
        return self.text + b"--\n" + self.to_sign + b"\n" + self.signature
