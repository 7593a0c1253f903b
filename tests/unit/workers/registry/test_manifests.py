import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images.oci import build_image, build_index, digest_of, tar_of
from workers.media_types import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    OCI_INDEX,
    OCI_MANIFEST,
)
from workers.registry.digests import DigestMismatch
from workers.registry.manifests import (
    FetchedManifest,
    UnsupportedManifest,
    media_type_of,
    verified_manifest,
)
from workers.registry.transport.answers import RegistryProtocolError

IMAGE = build_image([tar_of({"a": b"a"})])


def _verified(
    document: object, content_type: str | None = OCI_MANIFEST
) -> FetchedManifest:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return verified_manifest(raw, content_type, subject="s", digest=None, size=None)


@pytest.mark.parametrize("content_type", [OCI_MANIFEST, None, "application/json"])
def test_header_or_document_say_what_a_manifest_is(content_type: str | None) -> None:
    fetched = verified_manifest(
        IMAGE.manifest,
        content_type,
        subject="s",
        digest=IMAGE.digest,
        size=len(IMAGE.manifest),
    )
    assert fetched == FetchedManifest(OCI_MANIFEST, IMAGE.digest, IMAGE.manifest)


def test_all_four_kinds_are_read() -> None:
    docker = build_image([tar_of({"a": b"a"})], kind="docker")
    assert _verified(docker.manifest, DOCKER_MANIFEST).media_type == DOCKER_MANIFEST
    index = build_index([IMAGE])
    assert _verified(index.manifest, OCI_INDEX).media_type == OCI_INDEX
    listed = build_index([docker], kind="docker")
    assert (
        _verified(listed.manifest, DOCKER_MANIFEST_LIST).media_type
        == DOCKER_MANIFEST_LIST
    )


def test_an_oci_document_may_leave_its_type_to_the_header() -> None:
    assert _verified({"layers": []}, OCI_MANIFEST).media_type == OCI_MANIFEST
    assert _verified({"manifests": []}, OCI_INDEX).media_type == OCI_INDEX
    assert _verified({"manifests": []}, "text/plain").media_type == OCI_INDEX
    assert _verified({"layers": []}, None).media_type == OCI_MANIFEST


def test_the_size_is_compared_before_the_digest() -> None:
    with pytest.raises(DigestMismatch, match=r"has \d+ bytes, .* promises 3"):
        verified_manifest(
            IMAGE.manifest,
            OCI_MANIFEST,
            subject="s",
            digest=digest_of(b"other"),
            size=3,
        )


def test_other_bytes_than_the_digest_promises_are_refused() -> None:
    with pytest.raises(DigestMismatch, match=IMAGE.digest):
        verified_manifest(
            IMAGE.manifest + b" ",
            OCI_MANIFEST,
            subject="s",
            digest=IMAGE.digest,
            size=None,
        )


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws; charset=utf-8",
    ],
)
def test_schema_1_is_refused_by_name(media_type: str) -> None:
    with pytest.raises(UnsupportedManifest, match="schema 1"):
        media_type_of(media_type, "s")


def test_schema_1_is_known_by_its_document_too() -> None:
    with pytest.raises(UnsupportedManifest, match="schema 1"):
        _verified({"schemaVersion": 1, "fsLayers": []}, "application/json")


def test_what_is_no_image_is_named() -> None:
    with pytest.raises(UnsupportedManifest, match=r"application/vnd\.cncf\.helm"):
        media_type_of("application/vnd.cncf.helm.config.v1+json", "s")


def test_parameters_and_case_of_a_content_type_do_not_matter() -> None:
    assert media_type_of(f"{OCI_MANIFEST.upper()} ; charset=utf-8", "s") == OCI_MANIFEST


@pytest.mark.parametrize(
    ("document", "content_type"),
    [
        (b"", OCI_MANIFEST),
        (b"[" * 100_000, OCI_MANIFEST),
        ([], OCI_MANIFEST),
        ({}, OCI_MANIFEST),
        ({"layers": {}}, OCI_MANIFEST),
        ({"layers": []}, OCI_INDEX),
        ({"manifests": []}, OCI_MANIFEST),
        ({"manifests": [], "layers": []}, OCI_INDEX),
        ({"manifests": [], "config": {}}, None),
        ({"mediaType": OCI_INDEX, "layers": []}, OCI_MANIFEST),
        ({"mediaType": DOCKER_MANIFEST, "layers": []}, OCI_MANIFEST),
        ({"mediaType": 1, "layers": []}, OCI_MANIFEST),
        ({"mediaType": "application/json", "layers": []}, None),
        ({"Manifests": [], "LAYERS": []}, OCI_INDEX),
        ({"manifests": None, "layers": []}, OCI_MANIFEST),
        ({"schemaVersion": "2", "layers": []}, OCI_MANIFEST),
        (b'\xef\xbb\xbf{"layers": []}', OCI_MANIFEST),
        ({"mediaType": f"{OCI_MANIFEST};x", "layers": []}, None),
    ],
)
def test_a_document_at_odds_with_its_type_is_refused(
    document: object, content_type: str | None
) -> None:
    with pytest.raises(UnsupportedManifest, match=r"^s: "):
        _verified(document, content_type)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
_fields = ["schemaVersion", "mediaType", "layers", "config", "manifests"]


@given(
    st.binary() | st.dictionaries(st.sampled_from(_fields), _json),
    st.none() | st.sampled_from([OCI_MANIFEST, OCI_INDEX]) | st.text(),
)
def test_any_document_is_a_manifest_or_refused(
    document: object, content_type: str | None
) -> None:
    with contextlib.suppress(UnsupportedManifest, RegistryProtocolError):
        _verified(document, content_type)


def test_a_page_and_words_that_nobody_vouches_for_are_not_the_image() -> None:
    for raw, content_type in ((b"<p>", "text/html"), (b"at noon", "text/plain")):
        with pytest.raises(RegistryProtocolError):
            _verified(raw, content_type)
    # Of what the registry has under its digest it says so itself.
    digest = digest_of(b"at noon")
    with pytest.raises(UnsupportedManifest):
        verified_manifest(
            b"at noon", "text/plain", subject="s", digest=digest, size=None
        )
