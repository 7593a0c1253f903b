"""From a name to exactly one image."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.images.oci import (
    INDEX_TYPE,
    Image,
    Index,
    Layer,
    build_image,
    build_index,
    descriptor,
    digest_of,
    tar_of,
)
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.misbehaving_server import Reply
from workers.images.manifest import ImageManifest, parse_manifest
from workers.images.platforms import Platform
from workers.images.rejected import ImageRejected
from workers.images.resolved import ResolvedImage
from workers.ledger import Hint
from workers.reference import Reference
from workers.registry import (
    DigestMismatch,
    ImageNotFound,
    ManifestDescriptor,
    RegistryAccess,
    RegistryClient,
    RegistryUnavailable,
)
from workers.run.heartbeat import Overtaken
from workers.run.resolving import (
    Incomplete,
    fetch_images,
    resolve_digest,
    when_complete,
)

NAME, TAG = "atlas/analysis", "v1"
AMD64 = Platform("linux", "amd64")
FIRST, SECOND = (build_image([tar_of({name: b""})]) for name in ("first", "second"))
FIRST_CONFIG_TYPE = json.loads(FIRST.manifest)["config"]["mediaType"]
NOW = 1_800_000_000.0


@dataclass
class Place:
    """A registry, a client of it, and time that passes only while somebody waits."""

    registry: FakeRegistry
    client: RegistryClient
    now: float = NOW
    asked: int = 0

    @property
    def reference(self) -> Reference:
        return Reference.parse(f"{self.registry.host}/{NAME}:{TAG}")

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def check(self) -> None:
        self.asked += 1

    def hint(self, digest: str | None) -> Hint:
        return Hint(digest, "local")

    def resolve(self, hint: Hint | None, age: float = 0.0) -> ManifestDescriptor:
        return resolve_digest(
            self.client,
            self.reference,
            hint,
            self.check,
            age=age,
            sleep=self.sleep,
            clock=lambda: self.now,
        )

    def complete(self, hint: Hint | None, age: float = 0.0) -> ResolvedImage:
        return when_complete(
            self.fetch,
            hint,
            self.check,
            age=age,
            sleep=self.sleep,
            clock=lambda: self.now,
        )

    def fetch(self, platform: Platform = AMD64) -> ResolvedImage:
        found = self.resolve(None)
        [image], _ = fetch_images(self.client, self.reference, found, [platform])
        return image

    @property
    def waited(self) -> float:
        return self.now - NOW


@pytest.fixture
def place() -> Iterator[Place]:
    with FakeRegistry() as registry:
        access = RegistryAccess(registry.host, plain_http=True)
        hosts = frozenset({registry.host})
        with RegistryClient({registry.host: access}, internal_hosts=hosts) as client:
            yield Place(registry, client)


# Which digest.


@pytest.mark.parametrize("digest", [None, FIRST.digest])
def test_a_hint_that_agrees_is_not_waited_for(place: Place, digest: str | None) -> None:
    place.registry.hold_image(NAME, TAG, FIRST)
    assert place.resolve(place.hint(digest)).digest == FIRST.digest
    assert place.waited == 0


def test_without_a_hint_the_registry_is_asked_once(place: Place) -> None:
    with pytest.raises(ImageNotFound):
        place.resolve(None)
    assert len(place.registry.seen("HEAD")) == 1
    place.registry.hold_image(NAME, TAG, FIRST)
    assert place.resolve(None).digest == FIRST.digest


@pytest.mark.parametrize("is_there", [False, True], ids=["absent", "old"])
def test_a_fresh_hint_is_waited_for_until_the_registry_agrees(
    place: Place, *, is_there: bool
) -> None:
    if is_there:
        place.registry.hold_image(NAME, TAG, FIRST)

    def later(_path: str, reply: Reply) -> Reply:
        if len(place.registry.seen("HEAD")) == 5:
            place.registry.hold_image(NAME, TAG, SECOND)
        return reply

    place.registry.spoil("HEAD", "/manifests/", later)
    assert place.resolve(place.hint(SECOND.digest)).digest == SECOND.digest
    assert 0 < place.waited < 30
    assert place.asked > 0


def test_after_half_a_minute_the_registry_is_right(place: Place) -> None:
    place.registry.hold_image(NAME, TAG, FIRST)
    assert place.resolve(place.hint(SECOND.digest)).digest == FIRST.digest
    assert 30 <= place.waited < 31


def test_after_half_a_minute_what_is_not_there_is_not_there(place: Place) -> None:
    with pytest.raises(ImageNotFound):
        place.resolve(place.hint(FIRST.digest), age=10)
    assert 20 <= place.waited < 21


def test_an_old_hint_is_not_waited_for(place: Place) -> None:
    place.registry.hold_image(NAME, TAG, FIRST)
    found = place.resolve(place.hint(SECOND.digest), age=31)
    assert found.digest == FIRST.digest
    assert place.waited == 0


@pytest.mark.parametrize("hours", [-9, 9], ids=["behind", "ahead"])
def test_what_the_senders_clock_says_does_not_matter(place: Place, hours: int) -> None:
    place.registry.hold_image(NAME, TAG, FIRST)
    hint = Hint(SECOND.digest, "local", sent=time.time() + hours * 3600)
    assert place.resolve(hint).digest == FIRST.digest
    assert 30 <= place.waited < 31


def test_who_waits_stops_when_told(place: Place) -> None:
    def check() -> None:
        raise Overtaken

    hint = place.hint(FIRST.digest)
    with pytest.raises(Overtaken):
        resolve_digest(
            place.client, place.reference, hint, check, age=0, clock=lambda: place.now
        )


def test_a_registry_that_is_down_is_not_asked_for_half_a_minute(place: Place) -> None:
    place.registry.fail("HEAD", "/manifests/", status=502)
    with pytest.raises(RegistryUnavailable):
        place.resolve(place.hint(FIRST.digest))
    assert place.waited == 0


# Which image.


def test_an_image_is_fetched_by_what_its_tag_meant(place: Place) -> None:
    place.registry.hold_image(NAME, TAG, FIRST)
    found = place.resolve(None)
    place.registry.hold_image(NAME, TAG, SECOND)
    [image], _ = fetch_images(place.client, place.reference, found, [AMD64])
    assert image.digest == image.manifest_digest == FIRST.digest
    assert (image.raw_manifest, image.raw_config) == (FIRST.manifest, FIRST.config)
    assert image.config.diff_ids == (FIRST.layers[0].diff_id,)


def test_of_an_index_the_platform_is_fetched(place: Place) -> None:
    arm = build_image([tar_of({"arm": b""})], platform="linux/arm64/v8")
    index = place.registry.push_index(NAME, TAG, [FIRST, arm])
    for platform, wanted in ((AMD64, FIRST), (Platform.parse("linux/arm64"), arm)):
        image = place.fetch(platform)
        assert image.digest == index.digest
        assert image.manifest_digest == wanted.digest
        assert image.raw_manifest == wanted.manifest


def test_a_manifest_of_another_size_than_its_index_says_is_not_believed(
    place: Place,
) -> None:
    place.registry.hold_image(NAME, None, FIRST)
    index = json.loads(build_index([FIRST]).manifest)
    index["manifests"][0]["size"] += 1
    place.registry.push_manifest(
        NAME, TAG, json.dumps(index).encode(), index["mediaType"]
    )
    with pytest.raises(DigestMismatch, match="bytes"):
        place.fetch()


def index_in_index(place: Place, levels: int, platform: str | None) -> Index:
    """Hold an index that leads to an image through so many more."""
    inner = place.registry.push_index(NAME, None, [FIRST])
    for level in range(levels):
        entry: dict[str, object] = descriptor(inner.manifest, inner.media_type)
        if platform is not None:
            entry["platform"] = dict(
                zip(("os", "architecture"), platform.split("/"), strict=True)
            )
        document = {"schemaVersion": 2, "manifests": [entry]}
        inner = Index(json.dumps(document).encode(), inner.media_type, (FIRST,))
        tag = TAG if level == levels - 1 else None
        place.registry.push_manifest(NAME, tag, inner.manifest, inner.media_type)
    return inner


@pytest.mark.parametrize("platform", ["linux/amd64", None])
@pytest.mark.parametrize("levels", [1, 2])
def test_an_index_within_an_index_is_followed_two_levels(
    place: Place, levels: int, platform: str | None
) -> None:
    outer = index_in_index(place, levels, platform)
    image = place.fetch()
    assert (image.digest, image.manifest_digest) == (outer.digest, FIRST.digest)


def test_a_third_index_within_is_not_read(place: Place) -> None:
    index_in_index(place, 3, None)
    with pytest.raises(ImageRejected, match="no platform linux/amd64; it has none"):
        place.fetch()


def test_an_index_within_for_another_platform_is_not_read(place: Place) -> None:
    index_in_index(place, 1, "linux/s390x")
    with pytest.raises(ImageRejected, match="no platform linux/amd64"):
        place.fetch()
    assert len(place.registry.seen("GET", "/manifests/")) == 1


def hold_index(place: Place, *entries: dict[str, object]) -> None:
    document = {"schemaVersion": 2, "manifests": entries}
    raw = json.dumps(document).encode()
    place.registry.push_manifest(NAME, TAG, raw, INDEX_TYPE["oci"])


@pytest.mark.parametrize(
    ("count", "size"), [(40, None), (10, 2 << 20)], ids=["many", "large"]
)
def test_an_index_leads_to_few_manifests_only(
    place: Place, count: int, size: int | None
) -> None:
    entries = []
    for number in range(count):
        raw = b'{"manifests": [], "n": "%d' % number + b"x" * (size or 0) + b'"}'
        place.registry.push_manifest(NAME, None, raw, INDEX_TYPE["oci"])
        entries.append(descriptor(raw, INDEX_TYPE["oci"]))
    hold_index(place, *entries)
    with pytest.raises(ImageRejected, match="push one that names each platform once"):
        place.fetch()
    assert len(place.registry.seen("GET", "/manifests/")) <= 32


def entry_for(image: Image, platform: str) -> dict[str, object]:
    system, architecture = platform.split("/")
    said = {"os": system, "architecture": architecture}
    return descriptor(image.manifest, image.media_type, platform=said)


def test_of_several_for_one_platform_the_preferred_one_is_taken(place: Place) -> None:
    images = [build_image([tar_of({name: b""})]) for name in ("a", "b", "c")]
    for image in images:
        place.registry.hold_image(NAME, None, image)
    hold_index(place, *(entry_for(image, "linux/amd64") for image in images))
    assert place.fetch().manifest_digest == images[0].digest
    found = place.resolve(None)
    asked: list[tuple[Platform, str, ImageManifest]] = []

    def prefer(platform: Platform, digest: str, image: ImageManifest) -> int:
        asked.append((platform, digest, image))
        return {images[1].digest: 2, images[2].digest: 1}.get(digest, 0)

    [taken], _ = fetch_images(place.client, place.reference, found, [AMD64], prefer)
    assert taken.manifest_digest == images[1].digest
    assert asked == [
        (AMD64, image.digest, parse_manifest(image.manifest)) for image in images
    ]


def test_of_several_for_one_platform_one_that_can_be_read_is_taken(
    place: Place,
) -> None:
    odd = build_image([Layer(b"x", "application/vnd.erofs", digest_of(b"x"))])
    for image in (odd, FIRST):
        place.registry.hold_image(NAME, None, image)
    entries = [entry_for(image, "linux/amd64") for image in (odd, FIRST)]
    hold_index(place, *entries)
    assert place.fetch().manifest_digest == FIRST.digest
    hold_index(place, entries[0], entries[0])
    with pytest.raises(ImageRejected, match="unknown type"):
        place.fetch()


# Which platform.


def test_the_word_of_the_index_counts_and_that_is_noted(place: Place) -> None:
    mistaken = build_image([tar_of({"a": b""})], platform="linux/arm64")
    place.registry.hold_image(NAME, None, mistaken)
    hold_index(place, entry_for(mistaken, "linux/amd64"))
    image = place.fetch()
    assert image.platform == AMD64
    [note] = image.notes
    assert note == (
        "Its index says that it is for linux/amd64, its config linux/arm64: the "
        "index's word counts."
    )


@pytest.mark.parametrize("is_indexed", [False, True])
def test_without_the_word_of_an_index_the_config_decides(
    place: Place, *, is_indexed: bool
) -> None:
    other = build_image([tar_of({"a": b""})], platform="linux/arm64")
    place.registry.hold_image(NAME, TAG, other)
    if is_indexed:
        hold_index(place, descriptor(other.manifest, other.media_type))
    with pytest.raises(ImageRejected, match="is for linux/arm64, not for linux/amd64"):
        place.fetch()


@pytest.mark.parametrize("platform", ["/", "linux/", "/amd64"])
def test_a_config_that_does_not_say_its_platform_is_taken(
    place: Place, platform: str
) -> None:
    image = build_image([tar_of({"a": b""})], platform=platform)
    place.registry.hold_image(NAME, TAG, image)
    assert place.fetch().notes == ()


def test_a_single_manifest_is_taken_whatever_its_variant(place: Place) -> None:
    image = build_image([tar_of({"a": b""})], platform="linux/amd64/v2")
    place.registry.hold_image(NAME, TAG, image)
    [note] = place.fetch().notes
    assert note == (
        "It is published for linux/amd64, its config says linux/amd64/v2: not every "
        "such machine may run it."
    )


def test_a_config_is_not_read_without_bound(place: Place) -> None:
    huge = {"mediaType": FIRST_CONFIG_TYPE, "digest": digest_of(b""), "size": 5 << 20}
    image = build_image([tar_of({"a": b""})], manifest={"config": huge})
    place.registry.push_manifest(NAME, TAG, image.manifest, image.media_type)
    with pytest.raises(ImageRejected, match="config is larger than 4194304 bytes"):
        place.fetch()
    assert not place.registry.seen("GET", "/blobs/")


def test_a_config_that_was_altered_is_not_believed(place: Place) -> None:
    place.registry.hold_image(NAME, TAG, FIRST)
    place.registry.corrupt("/blobs/")
    with pytest.raises(DigestMismatch):
        place.fetch()


def test_what_comes_after_its_tag_is_looked_for_while_the_push_is_fresh(
    place: Place,
) -> None:
    place.registry.hold_image(NAME, TAG, FIRST)
    place.registry.fail("GET", "/blobs/", status=404, times=3)
    hint = place.hint(FIRST.digest)
    assert place.complete(hint).manifest_digest == FIRST.digest
    assert place.asked == 3
    assert place.now < NOW + 2


@pytest.mark.parametrize("age", [None, 0.0, 3600.0])
def test_what_is_not_there_after_that_is_for_later(
    place: Place, age: float | None
) -> None:
    place.registry.hold_image(NAME, TAG, FIRST)
    place.registry.fail("GET", "/manifests/", status=404)
    hint = None if age is None else place.hint(FIRST.digest)
    with pytest.raises(Incomplete, match="looked for again"):
        place.complete(hint, age or 0.0)
    assert (place.now - NOW > 29) is (age == 0.0)
