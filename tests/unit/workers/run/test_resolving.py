"""From a name to exactly one image."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.images.oci import build_image, build_index, digest_of, tar_of
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.misbehaving_server import Reply
from workers.errors import PermanentError
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
from workers.run.resolving import fetch_images, resolve_digest

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

    def hint(self, digest: str | None, age: float = 0.0) -> Hint:
        return Hint(digest, NOW - age, "local", event_id=None, actor=None)

    def resolve(self, hint: Hint | None) -> ManifestDescriptor:
        return resolve_digest(
            self.client,
            self.reference,
            hint,
            self.check,
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
        place.resolve(place.hint(FIRST.digest, age=10))
    assert 20 <= place.waited < 21


def test_an_old_hint_is_not_waited_for(place: Place) -> None:
    place.registry.hold_image(NAME, TAG, FIRST)
    assert place.resolve(place.hint(SECOND.digest, 31)).digest == FIRST.digest
    assert place.waited == 0


def test_a_hint_from_the_future_is_waited_for_no_longer(place: Place) -> None:
    place.registry.hold_image(NAME, TAG, FIRST)
    hint = place.hint(SECOND.digest, age=-1e9)
    assert place.resolve(hint).digest == FIRST.digest
    assert 30 <= place.waited < 31


def test_who_waits_stops_when_told(place: Place) -> None:
    def check() -> None:
        raise Overtaken

    hint = place.hint(FIRST.digest)
    with pytest.raises(Overtaken):
        resolve_digest(
            place.client, place.reference, hint, check, clock=lambda: place.now
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


def test_an_index_of_indexes_is_no_image(place: Place) -> None:
    inner = place.registry.push_index(NAME, None, [FIRST])
    outer = {
        "schemaVersion": 2,
        "mediaType": inner.media_type,
        "manifests": [
            {
                "mediaType": inner.media_type,
                "digest": inner.digest,
                "size": len(inner.manifest),
                "platform": {"os": "linux", "architecture": "amd64"},
            }
        ],
    }
    raw = json.dumps(outer).encode()
    place.registry.push_manifest(NAME, TAG, raw, inner.media_type)
    with pytest.raises(PermanentError):
        place.fetch()


def test_a_config_is_not_read_without_bound(place: Place) -> None:
    huge = {"mediaType": FIRST_CONFIG_TYPE, "digest": digest_of(b""), "size": 9 << 20}
    image = build_image([tar_of({"a": b""})], manifest={"config": huge})
    place.registry.push_manifest(NAME, TAG, image.manifest, image.media_type)
    with pytest.raises(ImageRejected, match="config is larger than 8388608 bytes"):
        place.fetch()
    assert not place.registry.seen("GET", "/blobs/")


def test_a_config_that_was_altered_is_not_believed(place: Place) -> None:
    place.registry.hold_image(NAME, TAG, FIRST)
    place.registry.corrupt("/blobs/")
    with pytest.raises(DigestMismatch):
        place.fetch()
