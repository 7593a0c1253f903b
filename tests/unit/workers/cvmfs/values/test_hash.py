import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.cvmfs.errors import FormatError, Malformed
from workers.cvmfs.values.hash import Algorithm, ContentHash, Kind, path_key

DIGESTS = st.binary(min_size=20, max_size=20)


def test_the_root_has_the_key_that_real_catalogs_give_it() -> None:
    # Decoded from a catalog that cvmfs_server wrote (cvmfs-format.md 3.3).
    assert path_key(b"") == (338333539836370388, 9098107892288553193)


def test_an_object_lies_under_its_hash_and_suffix() -> None:
    text = "28d94b" + "0" * 34
    assert ContentHash.parse(text).path(Kind.CATALOG) == f"data/28/{text[2:]}C"
    assert ContentHash.parse(text).path(Kind.BULK) == f"data/28/{text[2:]}"


def test_other_algorithms_are_part_of_text_and_path() -> None:
    digest = ContentHash.of(b"x", Algorithm.SHAKE128)
    assert str(digest) == hashlib.shake_128(b"x").hexdigest(20) + "-shake128"
    assert digest.path(Kind.CATALOG).endswith("-shake128C")
    ripemd = ContentHash.of(b"", Algorithm.RMD160)
    assert str(ripemd) == "9c1185a5c5e9fc54612808977ee8f548b2258d31-rmd160"


@given(DIGESTS, st.sampled_from(Algorithm))
def test_text_read_back_is_the_same_hash(digest: bytes, algorithm: Algorithm) -> None:
    content_hash = ContentHash(digest, algorithm)
    assert ContentHash.parse(str(content_hash)) == content_hash


@pytest.mark.parametrize(
    "text", ["", "a" * 39, "A" * 40, "a" * 41, "a" * 40 + "-md5", "a" * 40 + "\n", "é"]
)
def test_what_is_no_hash_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        ContentHash.parse(text)


@given(st.text())
def test_any_text_is_a_hash_or_our_own_error(text: str) -> None:
    with contextlib.suppress(FormatError):
        ContentHash.parse(text)
