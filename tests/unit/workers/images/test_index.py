"""What an index offers, and which of it is no image."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images.oci import INDEX_TYPE, Image, build_image, build_index
from workers.images.index import Offer, read_index
from workers.images.manifest import Descriptor
from workers.images.platforms import ANY_PLATFORM, Platform
from workers.images.rejected import ImageRejected

AMD64, ARM64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")
LINUX_AMD64 = {"os": "linux", "architecture": "amd64"}
IMAGE = build_image([b"x"])


def entry(image: Image = IMAGE, **changes: object) -> dict[str, object]:
    document: dict[str, object] = {
        "mediaType": image.media_type,
        "digest": image.digest,
        "size": len(image.manifest),
    }
    return document | changes


def offered(*entries: object) -> list[Offer]:
    document = {"schemaVersion": 2, "manifests": entries}
    return list(read_index(json.dumps(document).encode()))


def test_an_index_offers_images_for_platforms() -> None:
    images = [build_image([b"x"], platform=name) for name in ("a/b", "linux/arm64/v8")]
    assert read_index(build_index(images).manifest) == [
        Offer(
            Descriptor(image.media_type, image.digest, len(image.manifest)),
            Platform.parse(image.platform),
        )
        for image in images
    ]
    assert offered() == []


def test_attestations_are_no_offers() -> None:
    unknown = {"os": "unknown", "architecture": "unknown"}
    marked = {"vnd.docker.reference.type": "attestation-manifest"}
    assert not offered(
        entry(platform=unknown, annotations=marked),
        entry(platform=unknown),
        entry(platform=LINUX_AMD64, annotations=marked),
        entry(platform=LINUX_AMD64, mediaType="application/vnd.in-toto+json"),
    )


def test_what_needs_a_feature_that_we_do_not_know_is_no_offer() -> None:
    needs = {**LINUX_AMD64, "os.features": ["erofs"]}
    assert not offered(entry(platform=needs))
    assert not offered(entry(platform={"OS": "linux", "OS.Features": ["erofs"]}))
    for features in ([], None, [""]):
        assert offered(entry(platform={**LINUX_AMD64, "os.features": features}))


@pytest.mark.parametrize("said", [None, {}, {"os": "", "architecture": " "}])
def test_what_is_blank_is_not_said(said: object) -> None:
    [offer] = offered(entry(platform=said))
    assert offer.platform == ANY_PLATFORM


def test_keys_are_found_whatever_their_case() -> None:
    platform = {"OS": "linux", "Architecture": "amd64"}
    found = entry(Platform=platform)
    found["MEDIATYPE"] = found.pop("mediaType")
    [offer] = read_index(json.dumps({"Manifests": [found]}).encode())
    assert (offer.platform, offer.descriptor.digest) == (AMD64, IMAGE.digest)


def test_entries_of_an_index_in_an_index_inherit_what_they_do_not_say() -> None:
    [unsaid, amd64, arm64, outer] = offered(
        entry(),
        entry(platform=LINUX_AMD64),
        entry(platform={"os": "linux", "architecture": "arm64"}),
        entry(platform=LINUX_AMD64, mediaType=INDEX_TYPE["oci"]),
    )
    assert outer.is_index
    assert not amd64.is_index
    below = [one.below(outer.platform) for one in (unsaid, amd64, arm64)]
    assert [one and one.platform for one in below] == [AMD64, AMD64, None]
    assert arm64.below(ANY_PLATFORM) == arm64
    assert unsaid.below(ARM64) == Offer(unsaid.descriptor, ARM64)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"\xef\xbb\xbf{}",
        b'{"manifests": {}}',
        b'{"manifests": [5]}',
        json.dumps({"manifests": [entry(size="9")]}).encode(),
        json.dumps({"manifests": [entry(size=-9)]}).encode(),
        json.dumps({"manifests": [entry(digest="sha256:x")]}).encode(),
        json.dumps({"manifests": [entry(platform="linux")]}).encode(),
        json.dumps({"manifests": [entry(annotations={"a": 1})]}).encode(),
    ],
    ids=range(10),
)
def test_what_is_no_index_is_refused(raw: bytes) -> None:
    with pytest.raises(ImageRejected, match="the image"):
        read_index(raw)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["manifests", "platform", "os", "digest", "size"]),
                inner,
            )
        ),
        max_leaves=15,
    )
)
def test_any_document_is_read_or_refused(document: object) -> None:
    with contextlib.suppress(ImageRejected):
        read_index(json.dumps(document).encode())
