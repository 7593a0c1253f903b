"""What a format is: all that differs between one way to hold an image and another.

A format is one file with one class, and a place in ``FORMATS``. Whoever publishes,
restores, removes, prunes or shows an image goes through them all and asks each; none of
them knows a format by its name. One thing is taken from a format by whoever converts:
published layers, so that they need not be fetched again (``published_layers``). Most
formats have nothing to say to most questions, so a format answers those that concern it
and takes the rest from here.

Every one of them passes ``tests/contracts/test_format.py``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from workers.cvmfs import Tree
from workers.errors import Told
from workers.formats.chained_layer import chained, why_not_alone
from workers.formats.overlay_layer import OverlayForm, overlay_form
from workers.formats.receipt import Receipt
from workers.images.layers.layer_tree import LayerTree
from workers.images.layers.merge import Merger, merge
from workers.images.layers.steps import Steps, always_wanted
from workers.images.manifest import ImageManifest
from workers.images.platforms import Platform
from workers.images.resolved import ResolvedImage
from workers.publishing.plan import ContentAt, RemoveAt, Step, TreeAt
from workers.publishing.publisher import ContentSink, Fence, PublishedTree, Publisher
from workers.reference import Reference, ReferenceTemplate
from workers.registry import RegistryClient

ConfigDigest = Callable[[], str | None]
"""Returns the digest of the config of the platform for clients that say none."""


class ImageBounds(Protocol):
    """What an image may cost by its rule; ``policy.ImageLimits`` is one.

    Attributes:
        size_bytes: of all files, unpacked.
        files: entries of all layers together.
        layers: how many.
    """

    @property
    def size_bytes(self) -> int:
        """See above."""

    @property
    def files(self) -> int:
        """See above."""

    @property
    def layers(self) -> int:
        """See above."""


@dataclass(slots=True)
class ConvertedImage:
    """One platform of an image whose layers are read, all their content stored.

    Attributes:
        image: pinned.
        layers: lowest first.
        published: of each, how the repository holds it; None: it does not.
        is_large: whether memory is saved by packing directories.
        still_wanted: asked now and then; what it raises ends the work.
        is_stacked: whether an overlay of the layers was seen to be the image.
    """

    image: ResolvedImage
    layers: Sequence[LayerTree]
    published: Sequence[OverlayForm | None]
    is_large: bool
    still_wanted: Callable[[], None] = always_wanted
    is_stacked: bool = field(default=False, init=False)
    _merged: Tree | None = field(default=None, init=False)
    _forms: list[OverlayForm] | None = field(default=None, init=False)

    def is_new(self, number: int) -> bool:
        """Tell whether the repository does not hold a layer."""
        return self.published[number] is None

    def forms(self) -> list[OverlayForm]:
        """Return the layers in overlay form, as they are in this image."""
        if self._forms is None:
            layers = self._chained() if self.apart else self.layers
            forms = zip(self.published, layers, strict=True)
            self._forms = [form or overlay_form(layer) for form, layer in forms]
        return self._forms

    def _chained(self) -> list[LayerTree]:
        """Return the layers, each with what it is upon those below it."""
        steps = Steps(self.still_wanted)
        merger, found = Merger(steps), []
        for layer in self.layers:
            found.append(chained(layer, merger.tree, steps))
            merger.put(layer)
        self._merged = merger.tree
        return found

    @property
    def apart(self) -> dict[str, str]:
        """Digests of layers that are nothing without those below, each with why."""
        whys = zip(
            (each.digest for each in self.image.manifest.layers),
            map(why_not_alone, self.layers),
            strict=True,
        )
        return {digest: why for digest, why in whys if why is not None}

    def merged(self) -> Tree:
        """Return all layers on top of each other, to be looked at."""
        if self._merged is None:
            self._merged = merge(self.layers, Steps(self.still_wanted))
        return self._merged

    def root_file_system(self) -> Tree:
        """Return all layers on top of each other; it is the caller's to change."""
        merged, self._merged = self.merged(), None
        return merged


@dataclass(frozen=True, slots=True)
class Building:
    """What a format needs to build what it publishes of an image.

    Attributes:
        sink: takes contents of files.
        published: what is published already.
        scratch: a folder for large files meanwhile, if it can be written.
        trees: what the formats before have built, by path.
        built: paths of all that was built, files included.
        apart: layers that are nothing without those below; see ``ConvertedImage``.
        notes: what has to be known of what is made live, one short sentence each: they
            go into its receipt and are shown as long as it is live. Whoever builds or
            yields the steps of a format adds to them, also where all is there already.
    """

    sink: ContentSink
    published: PublishedTree
    scratch: Path
    trees: dict[bytes, Tree] = field(default_factory=dict)
    built: set[bytes] = field(default_factory=set)
    apart: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Placement:
    """An image and its name, as they are to be live.

    Attributes:
        reference: the name that it was pushed as.
        images: one for each platform that there is, the one for clients that do not
            say what they are first.
        receipt: what is said of this publication.
    """

    reference: Reference
    images: Sequence[ResolvedImage]
    receipt: Receipt


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


class Use(NamedTuple):
    """One way to use an image, in words for people.

    Attributes:
        key: tells it from the others on a page, one word.
        heading: for whom, or where.
        text: to be copied: a path, a name, a command.
        label: what the text is.
    """

    key: str
    heading: str
    text: str
    label: str


class Format(Protocol):
    """A way to hold an image for some of its users.

    Attributes:
        name: the word in the policy.
        parts: names of the formats that it is made of, which are published with it.
        needs_whiteouts: whether it would show deleted files in a repository that cannot
            hold character devices 0:0 and attributes of overlays.
        proves_layers: whether it was verified, when it was made, that the layers are
            those of the image's config.
        shelf: folder of what it makes, as ``<shelf>/<xx>/<name>``; empty for none.
    """

    name: str
    shelf: bytes = b""
    parts: tuple[str, ...] = ()
    needs_whiteouts: bool = False
    proves_layers: bool = False

    def lacking(self) -> str | None:
        """Return what this machine lacks to build it, with the mend."""
        return None

    def cannot(self, apart: Mapping[str, str]) -> str | None:
        """Return why an image cannot be had in this format, in a few words.

        Args:
            apart: see ``ConvertedImage``.
        """
        return None

    # What is in the repository.

    def missing(
        self, image: ResolvedImage, tree: PublishedTree, limits: ImageBounds
    ) -> Iterable[str]:
        """Return digests of what has to be built of an image, config's or layers'.

        Raises:
            ImageRejected: what is there is more than the limits allow.
        """
        return ()

    def relies_on(self, manifest: ImageManifest) -> Iterable[bytes]:
        """Return paths of the trees that must be there for an image to be live."""
        return ()

    def kept_by(self, path: bytes) -> bytes:
        """Return the path that is in use as long as what is at ``path`` is.

        Args:
            path: of something on the shelf.
        """
        return path

    def is_ours(self, tree: PublishedTree, path: bytes) -> bool:
        """Tell whether we made what is on the shelf, as opposed to another tool."""
        return False

    # What is published.

    def build(
        self, converted: ConvertedImage, building: Building
    ) -> Iterable[TreeAt | ContentAt | RemoveAt]:
        """Build what the repository does not hold of an image."""
        return ()

    def steps(
        self, placement: Placement, building: Building, tree: PublishedTree
    ) -> Iterable[Step]:
        """Return the steps that make an image live for its users, the last one last.

        Args:
            placement: what is to be live.
            building: has the trees that are published with it.
            tree: what is published already.
        """
        return ()

    def withdraw(
        self, reference: Reference, former: Sequence[Platform], live: Receipt
    ) -> Iterable[Step]:
        """Return the steps after which a name leads nowhere in this format.

        The trees stay: other names may lead to them.

        Args:
            reference: the name.
            former: platforms that it stands for.
            live: its receipt.
        """
        return ()

    # What lies outside the repository.

    def note(self, outside: Outside, receipt: Receipt, live: Receipt) -> Receipt:
        """Return the receipt, with what has to be known of what lies outside.

        Asked of every format, wanted or not.

        Args:
            outside: of the name.
            receipt: of what is to be live.
            live: of what is.
        """
        return receipt

    def settle(self, outside: Outside, receipt: Receipt) -> list[str]:
        """Make true outside what the receipt of what is live now says.

        Asked of every format, as there may be something to be taken away. Should it
        fail, the next try finds all else done.

        Returns:
            What stays outside that should not, and why.
        """
        return []

    def retire(self, outside: Outside, live: Receipt, told: Told) -> list[str]:
        """Take away what lies outside of a name that goes.

        Args:
            outside: of the name.
            live: its receipt.
            told: the errors that stop nothing but are told.

        Returns:
            What stays outside, and why.
        """
        return []

    # What people are told.

    def shown(
        self, reference: Reference, receipt: Receipt, config_digest: ConfigDigest
    ) -> str | None:
        """Return where a live image is: a path, or a name that an engine is given.

        Args:
            reference: the name.
            receipt: of what is live.
            config_digest: asked where a path is named by it; None: it is not known.
        """
        return None

    def uses(self, place: str, *, is_alone: bool) -> Iterable[Use]:
        """Return ways to use an image for people, the usual one first.

        Args:
            place: as ``shown`` said, paths from a node's root.
            is_alone: whether the image is published in no other format.
        """
        return ()
