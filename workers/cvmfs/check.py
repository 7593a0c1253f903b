"""Find everything that is wrong with a repository, as ``cvmfs_swissknife check`` does.

Read first: cvmfs-format.md, section 3.8.
"""

from collections.abc import Iterator, Sequence

from cryptography.hazmat.primitives.asymmetric import rsa

from workers.cvmfs.checking.finding import Finding, Progress, Tell
from workers.cvmfs.hash import ContentHash
from workers.cvmfs.storage import ObjectSource

__all__ = ["Finding", "Progress", "Tell", "check"]


def check(
    source: ObjectSource,
    fqrn: str,
    public_keys: Sequence[rsa.RSAPublicKey],
    *,
    now: int,
    contents: bool = False,
    reflog_checksum: ContentHash | None = None,
    tell: Tell = lambda _: None,
) -> Iterator[Finding]:
    """Yield everything that is wrong with a repository's current revision."""
    raise NotImplementedError
