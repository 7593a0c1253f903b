"""What a root file system was made of; kept in it, beside the scripts for apptainer.

A tree is named by its image's config, and that says what the layers unpack to. Which
blobs those are, the manifest says, and a manifest may name any config it likes. So
before a second name leads to a tree, its manifest has to name the very blobs that the
tree was made of.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

from workers.formats.documents import read_document
from workers.formats.paths import flat_path
from workers.formats.receipt import CONVERTER
from workers.formats.singularity import FOLDER
from workers.images.resolved import ResolvedImage
from workers.publishing.publisher import PublishedTree

RECORD_PATH = FOLDER + b"/cvmfs-webhook.json"


@dataclass(frozen=True, slots=True)
class FlatRecord:
    """What a tree was made of.

    Attributes:
        layers: digests of the layers' blobs, lowest first.
        size: bytes of all their regular files, holes included.
        entries: number of all their members.
        converter: version of our conversion that made it.
        apart: digests of layers that are nothing without those below, each with why.
        is_stacked: whether an overlay of the published layers was seen to be the same.
    """

    layers: tuple[str, ...]
    size: int
    entries: int
    converter: int = CONVERTER
    apart: Mapping[str, str] = field(default_factory=dict)
    is_stacked: bool = False

    @classmethod
    def parse(cls, raw: bytes) -> Self | None:
        """Return the record, or nothing if it is not one that we understand."""
        try:
            said = json.loads(raw)
            layers, size, entries = said["layers"], said["size"], said["entries"]
            if not isinstance(layers, list):
                return None
            return cls(
                tuple(map(str, layers)),
                int(size),
                int(entries),
                int(said.get("converter", 0)),
                {str(key): str(why) for key, why in said.get("apart", {}).items()},
                bool(said.get("is_stacked")),
            )
        except (
            AttributeError,
            ValueError,
            KeyError,
            TypeError,
            OverflowError,
            RecursionError,
        ):
            return None

    def document(self) -> bytes:
        """Return the record as ``parse`` reads it."""
        return json.dumps(asdict(self), sort_keys=True).encode() + b"\n"


def flat_record(tree: PublishedTree, image: ResolvedImage) -> FlatRecord | None:
    """Return the record of an image's tree, if it is there, made of its very blobs.

    And by this version of our conversion: another one's tree is made again.
    """
    path = flat_path(image.manifest.config.digest) + b"/" + RECORD_PATH
    record = FlatRecord.parse(read_document(tree, path) or b"")
    layers = tuple(layer.digest for layer in image.manifest.layers)
    if record is None or (record.layers, record.converter) != (layers, CONVERTER):
        return None
    return record
