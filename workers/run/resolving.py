"""From a name to exactly one image: the registry's word, not the notification's.

A notification is a hint. What the registry gives for the tag now decides, and from
there on everything is named by digest.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from workers.images.manifest import (
    choose_platform,
    parse_config,
    parse_manifest,
)
from workers.images.platforms import Platform, WrongPlatform, check_platform
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

# Distribution tells us of a push before it moves the tag.
_FRESH_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 0.5
_CONFIG_LIMIT = 8 << 20


def resolve_digest(
    client: RegistryClient,
    reference: Reference,
    hint: Hint | None,
    check: Callable[[], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.time,
) -> ManifestDescriptor:
    """Ask the registry what a tag means, until it agrees with a fresh hint.

    Args:
        client: with the credentials of the reference's registry, if it wants any.
        reference: with a tag.
        hint: what the newest notification said; its time is the sender's word.
        check: called while waiting; raises when the work should stop.
        sleep: takes seconds.
        clock: returns seconds since the epoch.

    Raises:
        ImageNotFound: the registry does not have it, and no fresh hint says otherwise.
        WorkerError: what else the registry answers, or ``check`` raises.
    """
    now = clock()
    # A clock that runs ahead must not keep us waiting for as long.
    until = min(hint.time, now) + _FRESH_SECONDS if hint is not None else now
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


def fetch_images(
    client: RegistryClient,
    reference: Reference,
    found: ManifestDescriptor,
    platforms: Sequence[Platform],
) -> tuple[list[ResolvedImage], list[str]]:
    """Fetch manifest and config of what ``resolve_digest`` found, for each platform.

    Args:
        client: with the credentials of the reference's registry, if it wants any.
        reference: as it was pushed, with a tag or a digest.
        found: the descriptor of its manifest or index; all is fetched by its digest.
        platforms: at least one.

    Returns:
        The images, one for each platform that has one, in the order of ``platforms``;
        and for each of the others one line that says why not.

    Raises:
        ImageRejected: there is no image that we can publish, and why.
        WorkerError: what the registry answers.
    """
    pinned = replace(reference, tag=None, digest=found.digest)
    top = client.manifest(pinned)
    images: list[ResolvedImage] = []
    missing: list[str] = []
    for platform in platforms:
        try:
            images.append(_fetch_image(client, reference, found, top, platform))
        except WrongPlatform as error:
            missing.append(str(error))
    if not images:
        raise ImageRejected("; ".join(missing))
    return images, missing


def _fetch_image(
    client: RegistryClient,
    reference: Reference,
    found: ManifestDescriptor,
    top: FetchedManifest,
    platform: Platform,
) -> ResolvedImage:
    pinned = replace(reference, tag=None, digest=found.digest)
    fetched = top
    if top.media_type in INDEX_TYPES:
        chosen = choose_platform(top.raw, platform)
        fetched = client.manifest(pinned, chosen.digest, size=chosen.size)
    manifest = parse_manifest(fetched.raw)
    if manifest.config.size > _CONFIG_LIMIT:
        raise ImageRejected(f"the image's config is larger than {_CONFIG_LIMIT} bytes")
    with client.blob(pinned, manifest.config.digest, manifest.config.size) as blob:
        raw_config = b"".join(iter(lambda: blob.read(1 << 16), b""))
    config = parse_config(raw_config, len(manifest.layers))
    check_platform(config.platform, platform)
    return ResolvedImage(
        reference,
        found.digest,
        platform,
        fetched.digest,
        fetched.raw,
        manifest,
        raw_config,
        config,
    )
