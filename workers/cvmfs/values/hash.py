"""Content hashes, object names and path keys.

A content hash names an object by the bytes *as stored*, that is after compression. It
is not an OCI digest and is never mixed with one.

Source: cvmfs/crypto/hash.h, hash.cc; cvmfs-format.md sections 1 and 2.
"""

import hashlib
import re
import struct
from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import NamedTuple

from workers.cvmfs.errors import Malformed

DIGEST_SIZE = 20

_TEXT = re.compile(r"([0-9a-f]{40})(|-rmd160|-shake128)")
_PATH_KEY = struct.Struct("<qq")


class Algorithm(IntEnum):
    """A hash algorithm, as bits 8 to 10 of a catalog row's flags count them.

    All three give 20 bytes. We read all of them and write SHA-1 only, the default of
    every CernVM-FS tool.
    """

    SHA1 = 0
    RMD160 = 1
    SHAKE128 = 2


class Kind(StrEnum):
    """What an object is: the suffix of its name, never part of its hash."""

    BULK = ""
    PARTIAL = "P"
    CATALOG = "C"
    HISTORY = "H"
    CERTIFICATE = "X"
    METAINFO = "M"


_SUFFIX = {
    Algorithm.SHA1: "",
    Algorithm.RMD160: "-rmd160",
    Algorithm.SHAKE128: "-shake128",
}
_ALGORITHM = {suffix: algorithm for algorithm, suffix in _SUFFIX.items()}


class Hasher(NamedTuple):
    """A running hash: feed it with ``update``, then ask for the ``digest``."""

    update: Callable[[bytes], None]
    digest: Callable[[], bytes]


def new_hasher(algorithm: Algorithm) -> Hasher:
    """Return a fresh hasher of ``algorithm``.

    Raises:
        Malformed: this Python's OpenSSL was built without RIPEMD-160.
    """
    if algorithm is Algorithm.SHA1:
        sha1 = hashlib.sha1(usedforsecurity=False)
        return Hasher(sha1.update, sha1.digest)
    if algorithm is Algorithm.SHAKE128:
        shake = hashlib.shake_128(usedforsecurity=False)
        return Hasher(shake.update, lambda: shake.digest(DIGEST_SIZE))
    try:
        ripemd = hashlib.new("ripemd160", usedforsecurity=False)
    except ValueError as error:
        raise Malformed("hash algorithm rmd160 is not available here") from error
    return Hasher(ripemd.update, ripemd.digest)


class ContentHash(NamedTuple):
    """The hash by which an object is stored.

    Attributes:
        digest: 20 raw bytes.
        algorithm: which hash it is.
    """

    digest: bytes
    algorithm: Algorithm = Algorithm.SHA1

    @classmethod
    def of(cls, stored: bytes, algorithm: Algorithm = Algorithm.SHA1) -> "ContentHash":
        """Hash the bytes of an object, as they are stored."""
        hasher = new_hasher(algorithm)
        hasher.update(stored)
        return cls(hasher.digest(), algorithm)

    @classmethod
    def parse(cls, text: str) -> "ContentHash":
        """Read the text form: 40 lower-case hex digits and an algorithm, if not SHA-1.

        Raises:
            Malformed: for anything else.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise Malformed(f"not a content hash: {text[:80]!r}")
        return cls(bytes.fromhex(match[1]), _ALGORITHM[match[2]])

    def __str__(self) -> str:
        return self.digest.hex() + _SUFFIX[self.algorithm]

    def path(self, kind: Kind) -> str:
        """Where the object lies in the storage, as ``data/28/d94b…C``."""
        text = str(self)
        return f"data/{text[:2]}/{text[2:]}{kind}"


NO_HASH = ContentHash(bytes(DIGEST_SIZE))
"""All zeros: "there is no predecessor" in ``previous_revision`` properties."""


def path_key(path: bytes) -> tuple[int, int]:
    """Return the pair of integers under which a catalog files ``path``.

    The MD5 of the path is cut in two; each half is a signed 64-bit integer, little
    endian. The root is the empty path; every other path starts with a slash and ends
    without one.

    Source: cvmfs/crypto/hash.cc, ``Md5::ToIntPair``; columns md5path_1, md5path_2.
    """
    first, second = _PATH_KEY.unpack(hashlib.md5(path, usedforsecurity=False).digest())
    return first, second
