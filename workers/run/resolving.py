"""From a name to exactly one image: the registry's word, not the notification's.

A notification is a hint. What the registry gives for the tag now decides, and from
there on everything is named by digest.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from workers.errors import TransientError
from workers.images.index import Offer, read_index
from workers.images.manifest import ImageManifest, parse_config, parse_manifest
from workers.images.platforms import (
    ANY_PLATFORM,
    Platform,
    WrongPlatform,
    best,
    check_platform,
    no_platform,
)
from workers.images.rejected import ImageRejected
from workers.images.resolved import ResolvedImage
from workers.ledger import Hint
from workers.media_types import INDEX_TYPES
from workers.reference import Reference
from workers.registry import (
    FetchedManifest,
    ImageNotFound,
    ManifestDescriptor,
    RegistryClient,
)

# Distribution tells us of a push before it moves the tag. Counted from when we took the
# notification: what its sender's clock says has nothing to do with ours.
_FRESH_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 0.5
# Podman and skopeo read no larger one.
# Source: containers/image, ``internal/iolimits``, ``MaxConfigBodySize``.
_CONFIG_LIMIT = 4 << 20
# Builders put what they build for several platforms into an index of indexes.
_LEVELS_OF_INDEXES = 2
_MOST_MANIFESTS = 32
_MOST_MANIFEST_BYTES = 16 << 20

Found = TypeVar("Found")


class Incomplete(TransientError):
    """A tag that leads to what its registry does not have: not yet, or not any more.

    Where the tag leads is asked anew when it is tried again.
    """

    def __init__(self, lost: ImageNotFound) -> None:
        super().__init__(f"{lost} (the tag leads to it, so it is looked for again)")


def resolve_digest(
    client: RegistryClient,
    reference: Reference,
    hint: Hint | None,
    check: Callable[[], None],
    *,
    age: float = math.inf,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> ManifestDescriptor:
    """Ask the registry what a tag means, until it agrees with a fresh hint.

    Args:
        client: with the credentials of the reference's registry, if it wants any.
        reference: with a tag.
        hint: what the newest notification said.
        check: called while waiting; raises when the work should stop.
        age: seconds since we took that notification.
        sleep: takes seconds.
        clock: monotonic, in seconds.

    Raises:
        ImageNotFound: the registry does not have it, and no fresh hint says otherwise.
        WorkerError: what else the registry answers, or ``check`` raises.
    """
    until = clock() + (_FRESH_SECONDS - age if hint is not None else 0.0)
    wait = 0.05
    while True:
        is_fresh = clock() < until
        try:
            found = client.resolve(reference)
        except ImageNotFound:
            if not is_fresh:
                raise
        else:
            wanted = hint.digest if hint is not None else None
            if wanted in (None, found.digest) or not is_fresh:
                return found
        check()
        sleep(wait)
        wait = min(2 * wait, _LOOK_AGAIN_SECONDS)


def when_complete(
    fetch: Callable[[], Found],
    hint: Hint | None,
    check: Callable[[], None],
    *,
    age: float = math.inf,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """Return what is fetched of an image, parts of which may come a little later.

    Args:
        fetch: raises ImageNotFound for what is not there.
        hint: see ``resolve_digest``, as the others.
        check: as there.
        age: as there.
        sleep: as there.
        clock: as there.

    Raises:
        Incomplete: a part is still not there when the hint is fresh no more.
    """
    until = clock() + (_FRESH_SECONDS - age if hint is not None else 0.0)
    wait = 0.05
    while True:
        is_fresh = clock() < until
        try:
            return fetch()
        except ImageNotFound as error:
            if not is_fresh:
                raise Incomplete(error) from error
        check()
        sleep(wait)
        wait = min(2 * wait, _LOOK_AGAIN_SECONDS)


Preference = Callable[[Platform, str, ImageManifest], int]
"""Chooses between images that an index offers for one platform.

Takes what is wanted, and digest and content of an image's manifest. Returns how much
the image is preferred; of several equal ones the first is taken.
"""


def first_offered(_platform: Platform, _digest: str, _image: ImageManifest) -> int:
    """Prefer none; see ``Preference``."""
    return 0


def fetch_images(
    client: RegistryClient,
    reference: Reference,
    found: ManifestDescriptor,
    platforms: Sequence[Platform],
    prefer: Preference = first_offered,
) -> tuple[list[ResolvedImage], list[str]]:
    """Fetch manifest and config of what ``resolve_digest`` found, for each platform.

    Args:
        client: with the credentials of the reference's registry, if it wants any.
        reference: as it was pushed, with a tag or a digest.
        found: the descriptor of its manifest or index; all is fetched by its digest.
        platforms: at least one.
        prefer: chooses where an index has several images for a platform.

    Returns:
        The images, one for each platform that has one, in the order of ``platforms``;
        and for each of the others one line that says why not.

    Raises:
        ImageRejected: there is no image that we can publish, and why.
        WorkerError: what the registry answers.
    """
    fetching = _Fetching(client, reference, found.digest)
    top = fetching.manifest(found.digest)
    offers: list[Offer] | None = None
    if top.media_type in INDEX_TYPES:
        offers = list(fetching.offers(top.raw, platforms))
    images: list[ResolvedImage] = []
    missing: list[str] = []
    for platform in platforms:
        try:
            if offers is None:
                images.append(fetching.image(top, platform, is_said=False))
            else:
                images.append(fetching.chosen(offers, platform, prefer))
        except WrongPlatform as error:
            missing.append(str(error))
    if not images:
        raise ImageRejected("; ".join(missing))
    return images, missing


class _Fetching:
    """Fetches the documents of one image, each manifest once."""

    def __init__(
        self, client: RegistryClient, reference: Reference, digest: str
    ) -> None:
        self._client = client
        self._reference = reference
        self._digest = digest
        self._pinned = replace(reference, tag=None, digest=digest)
        self._manifests: dict[str, FetchedManifest] = {}
        self._size = 0

    def manifest(self, digest: str, size: int | None = None) -> FetchedManifest:
        """Return a manifest or an index of the image."""
        found = self._manifests.get(digest)
        if found is None:
            self._size += size or 0
            if (
                len(self._manifests) == _MOST_MANIFESTS
                or self._size > _MOST_MANIFEST_BYTES
            ):
                raise ImageRejected(
                    "the image's index leads to more manifests and indexes than are "
                    f"read ({_MOST_MANIFESTS}, of {_MOST_MANIFEST_BYTES >> 20} MiB): "
                    "push one that names each platform once"
                )
            found = self._client.manifest(self._pinned, digest, size=size)
            self._manifests[digest] = found
        return found

    def offers(
        self,
        raw: bytes,
        wanted: Sequence[Platform],
        above: Platform = ANY_PLATFORM,
        levels: int = _LEVELS_OF_INDEXES,
    ) -> Iterator[Offer]:
        """Yield the images that an index offers, those of indexes in it included.

        Args:
            raw: the index.
            wanted: indexes for nothing of that are not read.
            above: what the index is for, as far as that is said.
            levels: of indexes that may lie within.
        """
        for entry in read_index(raw):
            offer = entry.below(above)
            if offer is None:
                continue
            if not offer.is_index:
                yield offer
            elif levels and any(best([(offer.platform, 0)], one) for one in wanted):
                inner = self.manifest(offer.descriptor.digest, offer.descriptor.size)
                yield from self.offers(inner.raw, wanted, offer.platform, levels - 1)

    def chosen(
        self, offers: Sequence[Offer], wanted: Platform, prefer: Preference
    ) -> ResolvedImage:
        """Return the image that is offered for a platform.

        Of several for the same platform the one that is preferred among those that can
        be read.
        """
        found = best([(offer.platform, offer) for offer in offers], wanted)
        if not found:
            raise no_platform([offer.platform for offer in offers], wanted)
        ranked: list[tuple[int, Offer]] = []
        unreadable: list[ImageRejected] = []
        for offer in found if len(found) > 1 else ():
            try:
                image = parse_manifest(self._of(offer).raw)
            except ImageRejected as error:
                unreadable.append(error)
            else:
                rank = prefer(wanted, offer.descriptor.digest, image)
                ranked.append((rank, offer))
        if unreadable and not ranked:
            raise unreadable[0]
        # Python's max takes the first of equal ones.
        offer = max(ranked, key=lambda one: one[0])[1] if ranked else found[0]
        return self.image(self._of(offer), wanted, is_said=offer.platform.is_whole)

    def image(
        self, fetched: FetchedManifest, platform: Platform, *, is_said: bool
    ) -> ResolvedImage:
        """Return the image of a manifest.

        Args:
            fetched: the manifest.
            platform: that it is wanted for.
            is_said: whether an index has said what it is for.
        """
        manifest = parse_manifest(fetched.raw)
        descriptor = manifest.config
        if descriptor.size > _CONFIG_LIMIT:
            raise ImageRejected(
                f"the image's config is larger than {_CONFIG_LIMIT} bytes"
            )
        with self._client.blob(
            self._pinned, descriptor.digest, descriptor.size
        ) as blob:
            raw_config = b"".join(iter(lambda: blob.read(1 << 16), b""))
        config = parse_config(raw_config, len(manifest.layers))
        if not is_said:
            check_platform(config.platform, platform)
        return ResolvedImage(
            self._reference,
            self._digest,
            platform,
            fetched.digest,
            fetched.raw,
            manifest,
            raw_config,
            config,
        )

    def _of(self, offer: Offer) -> FetchedManifest:
        return self.manifest(offer.descriptor.digest, offer.descriptor.size)
