"""Keeping the thin images of published images in their registry, and taking them out.

A thin image is pushed after the layers are in CVMFS, never before: whoever pulls it
finds them. One that is not wanted any more goes after its successor is there, and
before the receipt forgets it: what a run that is killed has not done, the next one
reads there, however often the configuration has changed meanwhile.
"""

import contextlib
import logging
from collections.abc import Sequence

from workers.errors import PermanentError, WorkerError
from workers.images.manifest import parse_manifest
from workers.images.rejected import ImageRejected
from workers.images.thin import (
    LARGEST_LAYER_BYTES,
    MANIFEST_TYPE,
    ThinLayer,
    make_thin,
    read_thin,
)
from workers.layout.flat import RECEIPT
from workers.layout.layers import LAYERFS, layer_path
from workers.layout.names import metadata_path
from workers.plan import FileAt, Plan, Publisher
from workers.policy import Rule
from workers.receipts import (
    FORMER_THIN,
    THIN,
    Receipt,
    formats_of,
    former_thin_of,
    receipt_bytes,
    thin_of,
)
from workers.reference import Reference
from workers.registry import (
    FetchedManifest,
    ImageNotFound,
    RegistryClient,
    UnsupportedManifest,
)
from workers.run.run import Run

log = logging.getLogger(__name__)


class NoThinRegistry(PermanentError):
    """Thin images are wanted, and nobody said where they can be put."""


def thin_entries(run: Run, rule: Rule, live: Receipt) -> Receipt:
    """Return what a receipt says of thin images: the one that is wanted, and others.

    Args:
        run: for the name.
        rule: that decided.
        live: the receipt of what is live.
    """
    fqrn, _ = run.services.publisher(rule)
    wanted = None
    if "thin" in rule.formats:
        # What is wrong with its name is no reason to keep the rest out of CVMFS.
        with contextlib.suppress(PermanentError):
            wanted = _target(run, fqrn)
    former = [name for name in thin_names(run, fqrn, live) if name != wanted]
    return {
        **({} if wanted is None else {THIN: str(wanted)}),
        **({FORMER_THIN: list(map(str, former))} if former else {}),
    }


def thin_names(run: Run, fqrn: str, live: Receipt) -> list[Reference]:
    """Return under which references thin images of a name may be.

    Args:
        run: for the name.
        fqrn: of the repository that it is live in.
        live: its receipt there.
    """
    name = thin_of(live)
    if name is None and "thin" in formats_of(live):
        # Of the time when receipts did not say.
        with contextlib.suppress(PermanentError):
            name = _target(run, fqrn)
    return [*([] if name is None else [name]), *former_thin_of(live)]


def keep_thin(run: Run, fqrn: str, receipt: Receipt) -> list[str]:
    """Push the thin image of what is live if it is not there, then delete others.

    Should that fail, the next try finds all else done.

    Args:
        run: for the name.
        fqrn: of the repository that it is live in.
        receipt: of what is live.

    Returns:
        What stays in a registry, and why.

    Raises:
        NoThinRegistry, InvalidReference: there is no place for a thin image.
        WorkerError: what the registry or the publisher answers.
        Overtaken, LeaseLost, LedgerUnavailable: others are not deleted.
    """
    publisher = run.services.publishers[fqrn]
    if "thin" in formats_of(receipt):
        target = thin_of(receipt) or _target(run, fqrn)
        _push(run.services.registry, publisher, fqrn, target, run.reference)
    former = former_thin_of(receipt)
    if not former:
        return []
    # Whoever has taken over may want under this name what we would delete.
    run.heartbeat.check()
    told = delete_thin(run, fqrn, former)
    settled = {key: value for key, value in receipt.items() if key != FORMER_THIN}
    path = metadata_path(run.reference) + b"/" + RECEIPT
    steps = (FileAt(path, receipt_bytes(settled)),)
    publisher.publish([Plan(str(run.reference), steps)], run.fence())
    return told


def delete_thin(
    run: Run,
    fqrn: str,
    names: Sequence[Reference],
    *,
    told: type[WorkerError] = PermanentError,
) -> list[str]:
    """Delete thin images of an image; what else has their names stays.

    Args:
        run: for the name of the image.
        fqrn: of the repository that has its layers.
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
            found = _find(run.services.registry, fqrn, run.reference, name)
            if found is not None:
                run.services.registry.delete(name, found.digest)
        except told as error:
            stays.append(f"the thin image {name} stays, delete it by hand: {error}")
    return stays


def _target(run: Run, fqrn: str) -> Reference:
    template = run.services.config.repositories[fqrn].thin
    if template is None:
        raise NoThinRegistry(
            f"the rule wants thin images: say under repositories.{fqrn}.thin in the "
            "configuration where to push them"
        )
    target = template.fill(run.reference)
    if target == run.reference:
        raise NoThinRegistry(
            f"repositories.{fqrn}.thin would have the thin image replace {target} "
            "itself: name another place"
        )
    return target


def _push(
    client: RegistryClient,
    publisher: Publisher,
    fqrn: str,
    target: Reference,
    reference: Reference,
) -> None:
    folder = metadata_path(reference)
    manifest = publisher.read(folder + b"/manifest.json")
    config = publisher.read(folder + b"/config.json")
    if manifest is None or config is None:
        return  # removed meanwhile
    places = [
        (layer.digest, f"{_root(fqrn)}{_layer_place(layer.digest)}")
        for layer in parse_manifest(manifest).layers
    ]
    thin = make_thin(str(target), _origin(reference), places, config)
    try:
        is_there = client.resolve(target).digest == thin.digest
    except ImageNotFound:
        is_there = False
    if not is_there:
        client.push(target, thin.blobs, thin.manifest, MANIFEST_TYPE)


def _find(
    client: RegistryClient, fqrn: str, reference: Reference, name: Reference
) -> FetchedManifest | None:
    """Return what is at a name if it is a thin image of ours of an image.

    Its digest would not do: where a push has failed, what is there is the thin image of
    what was live before.
    """
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
    root = _root(fqrn) + "/"
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
