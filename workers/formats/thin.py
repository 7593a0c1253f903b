"""Keeping the thin images of published images in their registry, and taking them out.

A thin image is pushed after the layers are in CVMFS, never before: whoever pulls it
finds them. One that is not wanted any more goes after its successor is there, and
before the receipt forgets it: what a run that is killed has not done, the next one
reads there, however often the configuration has changed meanwhile.
"""

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workers.errors import PermanentError, WorkerError
from workers.formats.flat import RECEIPT
from workers.formats.layers import LAYERFS, layer_path
from workers.formats.paths import metadata_path
from workers.formats.receipt import (
    FORMER_THIN,
    THIN,
    Receipt,
    formats_of,
    former_thin_of,
    receipt_bytes,
    thin_of,
)
from workers.formats.thin_manifest import (
    LARGEST_LAYER_BYTES,
    MANIFEST_TYPE,
    ThinLayer,
    make_thin,
    read_thin,
)
from workers.images.manifest import parse_manifest
from workers.images.rejected import ImageRejected
from workers.policy import Rule
from workers.publishing.plan import Fence, FileAt, Plan, Publisher
from workers.reference import Reference, ReferenceTemplate
from workers.registry import (
    FetchedManifest,
    ImageNotFound,
    RegistryClient,
    UnsupportedManifest,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outside:
    """What lies outside a repository for one name in it, and whether to go on there.

    Attributes:
        reference: the name.
        fqrn: of the repository.
        publisher: of the repository.
        client: of the registries.
        thin: under which names thin images of the repository's images are put.
        check: raises when the work should stop.
        fence: what must hold when something is published.
    """

    reference: Reference
    fqrn: str
    publisher: Publisher
    client: RegistryClient
    thin: ReferenceTemplate | None
    check: Callable[[], None]
    fence: Fence


class NoThinRegistry(PermanentError):
    """Thin images are wanted, and nobody said where they can be put."""


def thin_entries(outside: Outside, rule: Rule, live: Receipt) -> Receipt:
    """Return what a receipt says of thin images: the one that is wanted, and others.

    Args:
        outside: of the name.
        rule: that decided.
        live: the receipt of what is live.
    """
    wanted = None
    if "thin" in rule.formats:
        # What is wrong with its name is no reason to keep the rest out of CVMFS.
        with contextlib.suppress(PermanentError):
            wanted = _target(outside)
    former = [name for name in thin_names(outside, live) if name != wanted]
    return {
        **({} if wanted is None else {THIN: str(wanted)}),
        **({FORMER_THIN: list(map(str, former))} if former else {}),
    }


def thin_names(outside: Outside, live: Receipt) -> list[Reference]:
    """Return under which references thin images of a name may be.

    Args:
        outside: of the name.
        live: its receipt there.
    """
    name = thin_of(live)
    if name is None and "thin" in formats_of(live):
        # Of the time when receipts did not say.
        with contextlib.suppress(PermanentError):
            name = _target(outside)
    return [*([] if name is None else [name]), *former_thin_of(live)]


def keep_thin(outside: Outside, receipt: Receipt) -> list[str]:
    """Push the thin image of what is live if it is not there, then delete others.

    Should that fail, the next try finds all else done.

    Args:
        outside: of the name.
        receipt: of what is live.

    Returns:
        What stays in a registry, and why.

    Raises:
        NoThinRegistry, InvalidReference: there is no place for a thin image.
        WorkerError: what the registry or the publisher answers.
        Overtaken, LeaseLost, LedgerUnavailable: others are not deleted.
    """
    if "thin" in formats_of(receipt):
        target = thin_of(receipt) or _target(outside)
        _push(outside, target)
    former = former_thin_of(receipt)
    if not former:
        return []
    # Whoever has taken over may want under this name what we would delete.
    outside.check()
    told = delete_thin(outside, former)
    settled = {key: value for key, value in receipt.items() if key != FORMER_THIN}
    path = metadata_path(outside.reference) + b"/" + RECEIPT
    steps = (FileAt(path, receipt_bytes(settled)),)
    outside.publisher.publish([Plan(str(outside.reference), steps)], outside.fence)
    return told


def delete_thin(
    outside: Outside,
    names: Sequence[Reference],
    *,
    told: type[WorkerError] = PermanentError,
) -> list[str]:
    """Delete thin images of an image; what else has their names stays.

    Args:
        outside: of the name of the image.
        names: of the thin images.
        told: the errors that stop nothing but are told. By default those that no retry
            mends: a registry that deletes nothing must not keep a name in CVMFS.

    Returns:
        What stays in a registry, and why.

    Raises:
        WorkerError: what else the registry answers.
    """
    stays = []
    for name in names:
        try:
            found = _find(outside, name)
            if found is not None:
                outside.client.delete(name, found.digest)
        except told as error:
            stays.append(f"the thin image {name} stays, delete it by hand: {error}")
    return stays


def _target(outside: Outside) -> Reference:
    template, setting = outside.thin, f"repositories.{outside.fqrn}.thin"
    if template is None:
        raise NoThinRegistry(
            f"the rule wants thin images: say under {setting} in the configuration"
            " where to push them"
        )
    target = template.fill(outside.reference)
    if target == outside.reference:
        raise NoThinRegistry(
            f"{setting} would have the thin image replace {target} itself: name"
            " another place"
        )
    return target


def _push(outside: Outside, target: Reference) -> None:
    publisher, client = outside.publisher, outside.client
    folder = metadata_path(outside.reference)
    manifest = publisher.read(folder + b"/manifest.json")
    config = publisher.read(folder + b"/config.json")
    if manifest is None or config is None:
        return  # removed meanwhile
    places = [
        (layer.digest, f"{_root(outside.fqrn)}{_layer_place(layer.digest)}")
        for layer in parse_manifest(manifest).layers
    ]
    thin = make_thin(str(target), _origin(outside.reference), places, config)
    try:
        is_there = client.resolve(target).digest == thin.digest
    except ImageNotFound:
        is_there = False
    if not is_there:
        client.push(target, thin.blobs, thin.manifest, MANIFEST_TYPE)


def _find(outside: Outside, name: Reference) -> FetchedManifest | None:
    """Return what is at a name if it is a thin image of ours of an image.

    Its digest would not do: where a push has failed, what is there is the thin image of
    what was live before.
    """
    client, reference = outside.client, outside.reference
    try:
        found = client.manifest(name)
        layers = parse_manifest(found.raw).layers
    except ImageNotFound:
        return None
    except (UnsupportedManifest, ImageRejected) as error:
        log.info("reference=%s is not at %s: %s", reference, name, error)
        return None
    said: ThinLayer | None = None
    if len(layers) == 1 and layers[0].size <= LARGEST_LAYER_BYTES:
        with client.blob(name, layers[0].digest, layers[0].size) as blob:
            said = read_thin(b"".join(iter(lambda: blob.read(1 << 16), b"")))
    root = _root(outside.fqrn) + "/"
    if (
        said is None
        or said.origin != _origin(reference)
        or not all(url.startswith(root) for url in said.urls)
    ):
        log.info("reference=%s is not at %s: another image is", reference, name)
        return None
    return found


def _origin(reference: Reference) -> str:
    return f"https://{reference}"


def _root(fqrn: str) -> str:
    return f"cvmfs://{fqrn}"


def _layer_place(digest: str) -> str:
    return (layer_path(digest) + b"/" + LAYERFS).decode()
