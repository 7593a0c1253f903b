"""All formats, and what concerns several of them."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from workers.formats.flat import Flat
from workers.formats.format import ConfigDigest, Format, ImageBounds, Outside, Use
from workers.formats.layers import Layers
from workers.formats.podman import Podman
from workers.formats.receipt import Receipt
from workers.formats.squashfs import Squashfs
from workers.formats.thin import Thin
from workers.images.resolved import ResolvedImage
from workers.publishing.publisher import PublishedTree
from workers.reference import Reference

FORMATS: tuple[Format, ...] = (Layers(), Flat(), Squashfs(), Podman(), Thin())
"""In the order in which they are built: each after those that it is made of."""
DEFAULT_FORMATS = ("flat", "layers")


def formats_named(names: Collection[str]) -> list[Format]:
    """Return the formats of a rule or a receipt, in the order of ``FORMATS``."""
    return [each for each in FORMATS if each.name in names]


def with_parts(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of formats with those that they are made of, each once."""
    parts = [part for each in formats_named(names) for part in each.parts]
    return tuple(dict.fromkeys([*names, *parts]))


def missing(
    images: Iterable[ResolvedImage],
    tree: PublishedTree,
    names: Collection[str],
    limits: ImageBounds,
) -> list[str]:
    """Return digests of what has to be built for images, each once.

    Raises:
        ImageRejected: what is published is more than the limits allow.
    """
    wanted = formats_named(names)
    digests = (
        digest
        for image in images
        for each in wanted
        for digest in each.missing(image, tree, limits)
    )
    return list(dict.fromkeys(digests))


def relied_on(images: Iterable[ResolvedImage], names: Collection[str]) -> list[bytes]:
    """Return the paths of the trees that must be there for images to be live."""
    wanted = formats_named(names)
    paths = (
        path
        for image in images
        for each in wanted
        for path in each.relies_on(image.manifest)
    )
    return list(dict.fromkeys(paths))


def lacking(names: Collection[str], apart: Mapping[str, str]) -> dict[str, str]:
    """Return which of some formats an image cannot be had in, each with why.

    Args:
        names: of the formats.
        apart: layers that are nothing without those below; see ``ConvertedImage``.
    """
    whys = {each.name: each.cannot(apart) for each in formats_named(names)}
    return {name: why for name, why in whys.items() if why is not None}


def noted(receipt: Receipt, live: Receipt, outside: Outside) -> Receipt:
    """Return the receipt of what is to be live; see ``Format.note``."""
    for each in FORMATS:
        receipt = each.note(outside, receipt, live)
    return receipt


def settle(outside: Outside, receipt: Receipt) -> list[str]:
    """Make true outside the repository what a receipt says; see ``Format.settle``."""
    return [told for each in FORMATS for told in each.settle(outside, receipt)]


def shown(
    reference: Reference, receipt: Receipt, config_digest: ConfigDigest
) -> dict[str, str]:
    """Return by format where a live image is; see ``Format.shown``."""
    places = {
        each.name: each.shown(reference, receipt, config_digest)
        for each in formats_named(receipt.held)
    }
    return {name: place for name, place in places.items() if place is not None}


def uses(places: Mapping[str, str]) -> Iterator[Use]:
    """Yield the ways to use an image for people, the usual ones first.

    Args:
        places: by format, as ``shown`` returned them, paths from a node's root.
    """
    for each in formats_named(places):
        yield from each.uses(places[each.name], is_alone=len(places) == 1)
