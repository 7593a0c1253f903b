"""Thin images: kept in a registry, for docker with the graph driver of CVMFS.

``thin_manifest.py`` has their form. A thin image is pushed after the layers are in
CVMFS, never before: whoever pulls it finds them. One that is not wanted any more goes
after its successor is there, and before the receipt forgets it: what a run that is
killed has not done, the next one reads there, however often the configuration has
changed meanwhile.
"""

import contextlib
import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from workers.errors import ANSWERED, PermanentError, Told
from workers.formats.documents import RECEIPT, read_documents
from workers.formats.format import ConfigDigest, Format, Outside, Use
from workers.formats.overlay_layer import LAYERFS
from workers.formats.paths import layer_path, metadata_path
from workers.formats.receipt import Receipt
from workers.formats.thin_manifest import (
    LARGEST_LAYER_BYTES,
    ThinLayer,
    make_thin,
    read_thin,
)
from workers.images.manifest import parse_manifest
from workers.images.rejected import ImageRejected
from workers.media_types import DOCKER_MANIFEST
from workers.publishing.plan import FileAt, Plan
from workers.publishing.publisher import publish
from workers.reference import Reference
from workers.registry import FetchedManifest, ImageNotFound, UnsupportedManifest

log = logging.getLogger(__name__)


class NoThinRegistry(PermanentError):
    """Thin images are wanted, and nobody said where they can be put."""


class Thin(Format):
    """See the module."""

    name = "thin"
    parts = ("layers",)

    def cannot(self, apart: Mapping[str, str]) -> str | None:
        """Say that docker takes all layers from here, or none."""
        for digest, why in apart.items():
            return f"layer {digest[:19]}… is not among the published layers, as {why}"
        return None

    def note(self, outside: Outside, receipt: Receipt, live: Receipt) -> Receipt:
        """Return the receipt with the thin image that is wanted, and with others."""
        wanted = None
        if self.name in receipt.formats:
            # What is wrong with its name is no reason to keep the rest out of CVMFS.
            with contextlib.suppress(PermanentError):
                wanted = _target(outside)
        former = [name for name in self._names(outside, live) if name != wanted]
        return replace(receipt, thin=wanted, former_thin=tuple(former))

    def settle(self, outside: Outside, receipt: Receipt) -> list[str]:
        """Push the thin image of what is live if it is not there, then delete others.

        Raises:
            NoThinRegistry, InvalidReference: there is no place for a thin image.
            WorkerError: what the registry or the publisher answers.
            Overtaken, LeaseLost, LedgerUnavailable: others are not deleted.
        """
        stale = receipt.former_thin
        if self.name in receipt.held:
            _push(outside, receipt.thin or _target(outside))
        elif self.name in receipt.lacking and receipt.thin is not None:
            stale = (receipt.thin, *stale)  # of what was live before
        if not stale:
            return []
        # Whoever has taken over may want under this name what we would delete.
        outside.check()
        # A registry that deletes nothing must not keep a name in CVMFS.
        told = _delete(outside, stale, ANSWERED)
        if not receipt.former_thin:
            return told
        settled = replace(receipt, former_thin=())
        path = metadata_path(outside.reference) + b"/" + RECEIPT
        plan = Plan(str(outside.reference), (FileAt(path, settled.document()),))
        publish(outside.publisher, [plan], outside.fence)
        return told

    def retire(self, outside: Outside, live: Receipt, told: Told) -> list[str]:
        """Delete the thin images of a name that goes."""
        return _delete(outside, self._names(outside, live), told)

    def shown(
        self, reference: Reference, receipt: Receipt, config_digest: ConfigDigest
    ) -> str | None:
        """Return the name that docker is given."""
        return None if receipt.thin is None else str(receipt.thin)

    def uses(self, place: str, *, is_alone: bool) -> Iterator[Use]:
        """Yield docker's command."""
        heading = "With docker, where it has the graph driver of CVMFS"
        command = f"docker run {shlex.quote(place)}"
        yield Use("docker", heading, command, "Command for docker")

    def _names(self, outside: Outside, live: Receipt) -> list[Reference]:
        """Return under which references thin images of a live name may be."""
        name = live.thin
        if name is None and self.name in live.formats:
            # Of the time when receipts did not say.
            with contextlib.suppress(PermanentError):
                name = _target(outside)
        return [*([] if name is None else [name]), *live.former_thin]


def _delete(outside: Outside, names: Sequence[Reference], told: Told) -> list[str]:
    """Delete thin images of an image; what else has their names stays.

    Args:
        outside: of the name of the image.
        names: of the thin images.
        told: the errors that stop nothing but are told.

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
    documents = read_documents(publisher.published(), folder)
    if documents is None:
        return  # removed meanwhile
    places = [
        (layer.digest, f"{_root(outside.fqrn)}{_layer_place(layer.digest)}")
        for layer in parse_manifest(documents.manifest).layers
    ]
    thin = make_thin(str(target), _origin(outside.reference), places, documents.config)
    try:
        is_there = client.resolve(target).digest == thin.digest
    except ImageNotFound:
        is_there = False
    if not is_there:
        client.push(target, thin.blobs, thin.manifest, DOCKER_MANIFEST)


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
        log.debug("reference=%s is not at %s: %s", reference, name, error)
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
        log.debug("reference=%s is not at %s: another image is", reference, name)
        return None
    return found


def _origin(reference: Reference) -> str:
    return f"https://{reference}"


def _root(fqrn: str) -> str:
    return f"cvmfs://{fqrn}"


def _layer_place(digest: str) -> str:
    return (layer_path(digest) + b"/" + LAYERFS).decode()
