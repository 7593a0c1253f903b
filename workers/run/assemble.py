"""Making what is missing of an image, and leading its name to it in one revision."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from workers.errors import Hindrance
from workers.formats import formats
from workers.formats.documents import RECEIPT, ImageDocuments, platform_folders
from workers.formats.flat_record import flat_record
from workers.formats.format import Building, Placement
from workers.formats.formats import formats_named, lacking, missing, relied_on
from workers.formats.history import remember
from workers.formats.layers import published_layers
from workers.formats.multiarch import platform_path
from workers.formats.paths import layer_path, metadata_path, record_path
from workers.formats.receipt import CONVERTER, Receipt
from workers.images.manifest import Descriptor
from workers.images.platforms import Platform, default
from workers.images.resolved import ResolvedImage
from workers.ledger import State
from workers.policy import Rule
from workers.publishing.plan import FileAt, Plan, RemoveAt, RequireAt, Step, TreeAt
from workers.publishing.publisher import (
    Publication,
    PublishedTree,
    Publisher,
    publish,
)
from workers.run.admitting import check_publisher
from workers.run.converting import Shelf, convert, no_layers
from workers.run.room import check_room
from workers.run.run import Run


class CannotBuild(Hindrance):
    """This machine lacks what a format needs."""


def receipt_for(digest: str, platforms: Sequence[Platform], rule: Rule) -> Receipt:
    """Return what has to be equal for an image to count as unchanged."""
    return Receipt(
        digest=digest,
        converter=CONVERTER,
        platforms=tuple(platforms),
        formats=tuple(sorted(rule.formats)),
    )


def assemble(
    run: Run,
    rule: Rule,
    images: Sequence[ResolvedImage],
    receipt: Receipt,
    live: Receipt,
) -> tuple[Publication, Receipt]:
    """Make what is missing of an image, and lead the name to it.

    What another version of the converter has made is missing, too.

    Args:
        run: for the name.
        rule: that decided.
        images: for each platform that there is.
        receipt: of what is to be live.
        live: of what is.

    Returns:
        The publication, and its receipt with all that was found out.

    Raises:
        WorkerError, Overtaken, LeaseLost, LedgerUnavailable: why not.
    """
    services, heartbeat = run.services, run.heartbeat
    fqrn, publisher = services.publisher(rule)
    check_publisher(fqrn, publisher, rule)
    for each in formats_named(rule.formats):
        if need := each.lacking():  # before anything is downloaded
            raise CannotBuild(need)
    is_rebuilt = run.lease.forced

    def missing_of(some: Sequence[ResolvedImage]) -> list[str]:
        return missing(some, publisher.published(), rule.formats, rule.limits)

    claimed = [] if is_rebuilt else missing_of(images)
    with services.claims.claim(fqrn, claimed, heartbeat.look):
        building = Building(
            publisher.sink, publisher.published(), services.config.state
        )
        built: list[Step] = []
        shelf = Shelf(
            no_layers if is_rebuilt else published_layers(publisher.published)
        )
        for image in images:
            if is_rebuilt or not _is_proven(rule) or missing_of([image]):
                check_room(services.config, fqrn, _fetched(run, publisher, image))
                heartbeat.stage(State.CONVERTING)
                built += _build(run, rule, image, shelf, building)
            elif known := flat_record(publisher.published(), image):
                building.apart.update(known.apart)
        heartbeat.stage(State.PUBLISHING)
        heartbeat.check_newest()
        tree = publisher.published()
        cannot = lacking(rule.formats, building.apart)
        building.notes.extend(
            f"Not available as {name}: {why}." for name, why in cannot.items()
        )
        receipt = replace(receipt, lacking=tuple(sorted(cannot)))
        placement = Placement(run.reference, images, receipt)
        steps = (
            *_memory(tree, placement, live),
            *_requirements(placement, building),
            *built,
            *live_steps(placement, building, tree, live),
        )
        plan = Plan(str(run.reference), steps)
        return publish(publisher, [plan], run.fence()), receipt


def _fetched(
    run: Run, publisher: Publisher, image: ResolvedImage
) -> Sequence[Descriptor]:
    """Return the layers of an image that the repository does not hold."""
    layers = image.manifest.layers
    if run.lease.forced:
        return layers
    tree = publisher.published()
    return [each for each in layers if tree.lookup(record_path(each.digest)) is None]


def _is_proven(rule: Rule) -> bool:
    """Tell whether something that is published says which layers are an image's.

    Else nothing says that these layers are those of this config but the layers
    themselves, and they are looked at each time.
    """
    return any(each.proves_layers for each in formats_named(rule.formats))


def _build(
    run: Run, rule: Rule, image: ResolvedImage, shelf: Shelf, building: Building
) -> Iterator[Step]:
    """Yield what is built of one platform of an image, in all of its formats."""
    converted = convert(
        run.services.registry,
        image,
        building.sink,
        shelf,
        rule.limits,
        run.heartbeat.tell,
    )
    converted.still_wanted = run.heartbeat.look
    building.apart.update(converted.apart)
    for each in formats_named(rule.formats):
        for step in each.build(converted, building):
            building.built.add(step.path)
            if isinstance(step, TreeAt):
                building.trees[step.path] = step.tree
            yield step


def _memory(tree: PublishedTree, placement: Placement, live: Receipt) -> Iterator[Step]:
    """Yield what is remembered of the image whose place another takes."""
    if placement.receipt.digest != live.digest:
        yield from remember(tree, placement.reference, live)


def _requirements(placement: Placement, building: Building) -> Iterator[Step]:
    """Yield what must be there still, as trees that nobody used may be taken out."""
    absent = building.built | set(map(layer_path, building.apart))
    for path in relied_on(placement.images, placement.receipt.formats):
        if path not in absent:
            yield RequireAt(path)


def live_steps(
    placement: Placement,
    building: Building,
    tree: PublishedTree,
    live: Receipt,
) -> Iterator[Step]:
    """Yield the steps that make an image live whose trees are there, or about to be.

    Args:
        placement: what is to be live, in the formats that its receipt names.
        building: has the trees that are published with it.
        tree: what is published already.
        live: the receipt of what the name leads to now.
    """
    yield from _documents(placement, live)
    platforms = [image.platform for image in placement.images]
    for each in formats.FORMATS:
        if each.name in placement.receipt.held:
            yield from each.steps(placement, building, tree)
        else:
            yield from each.withdraw(placement.reference, platforms, live)
    # Last, when all have said what has to be known.
    said = [note for image in placement.images for note in image.notes]
    notes = tuple(dict.fromkeys([*said, *building.notes]))
    receipt = replace(placement.receipt, notes=notes)
    yield FileAt(
        metadata_path(placement.reference) + b"/" + RECEIPT, receipt.document()
    )


def _documents(placement: Placement, live: Receipt) -> Iterator[Step]:
    """Yield what lies beside the name: manifest and config."""
    reference, images = placement.reference, placement.images
    folders = platform_folders(reference, placement.receipt)
    current = {folders[image.platform]: image for image in images}
    own = metadata_path(reference)
    for platform, folder in platform_folders(reference, live).items():
        if folder not in current and folder != own:
            yield RemoveAt(platform_path(reference, platform))
            yield RemoveAt(folder)
    for folder, image in {**current, own: default(images)}.items():
        yield from ImageDocuments.of(image).files(folder)
