"""Bytes are held against the digest and the size that were promised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images.oci import digest_of
from workers.registry.digests import DigestMismatch, Verifier
from workers.registry.digests import digest_of as our_digest


@given(st.lists(st.binary()))
def test_a_verifier_passes_what_was_promised(blocks: list[bytes]) -> None:
    data = b"".join(blocks)
    for like in ("sha256:", "sha512:"):
        verifier = Verifier("blob", our_digest(data, like), len(data))
        for block in blocks:
            verifier.update(block)
        assert verifier.missing == 0
        verifier.finish()


def test_a_verifier_tells_size_from_content() -> None:
    verifier = Verifier("blob x", digest_of(b"abc"), 3)
    verifier.update(b"ab")
    with pytest.raises(DigestMismatch, match=r"blob x has 2 bytes.*promises 3"):
        verifier.finish()
    verifier.update(b"d")
    with pytest.raises(DigestMismatch, match="blob x has other content"):
        verifier.finish()
