"""What a root file system was made of; kept in it, beside the scripts for apptainer.

A tree is named by its image's config, and that says what the layers unpack to. Which
blobs those are, the manifest says, and a manifest may name any config it likes. So
before a second name leads to a tree, its manifest has to name the very blobs that the
tree was made of.
"""

import json
from dataclasses import asdict, dataclass
from typing import Self

from workers.formats.singularity import FOLDER

RECORD_PATH = FOLDER + b"/cvmfs-webhook.json"


@dataclass(frozen=True, slots=True)
class FlatRecord:
    """What a tree was made of.

    Attributes:
        layers: digests of the layers' blobs, lowest first.
        size: bytes of all their regular files, holes included.
        entries: number of all their members.
    """

    layers: tuple[str, ...]
    size: int
    entries: int

    @classmethod
    def parse(cls, raw: bytes) -> Self | None:
        """Return the record, or nothing if it is not one that we understand."""
        try:
            said = json.loads(raw)
            layers, size, entries = said["layers"], said["size"], said["entries"]
            if not isinstance(layers, list):
                return None
            return cls(tuple(map(str, layers)), int(size), int(entries))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None

    def document(self) -> bytes:
        """Return the record as ``parse`` reads it."""
        return json.dumps(asdict(self), sort_keys=True).encode() + b"\n"
