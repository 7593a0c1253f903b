"""What one layer comes to: what it adds, replaces and deletes."""

from dataclasses import dataclass, field

from workers.cvmfs import Tree


@dataclass(slots=True)
class LayerTree:
    """What the members of one tar come to when applied in order to nothing.

    Everything is kept that matters once the layer lies on others. Paths are relative to
    the root.

    Attributes:
        tree: entries that the layer adds or replaces. Groups of hard links are
            numbered from 1 within the layer.
        implied: directories that no member names; they leave what is below untouched.
        opaque: directories whose lower content is hidden; ``tree`` need not have them.
        whiteouts: names deleted from lower layers, by directory; nor these.
        links: hard links whose target only a lower layer can have: its path, by
            directory and name of the link. They are not in ``tree``.
        diff_id: digest of the uncompressed tar.
        size: bytes of all regular files, holes included.
        entries: number of members.
        metadata: bytes that its names and attributes took of a budget.
    """

    tree: Tree
    implied: set[bytes] = field(default_factory=lambda: {b""})
    opaque: set[bytes] = field(default_factory=set)
    whiteouts: dict[bytes, set[bytes]] = field(default_factory=dict)
    links: dict[bytes, dict[bytes, bytes]] = field(default_factory=dict)
    diff_id: str = ""
    size: int = 0
    entries: int = 0
    metadata: int = 0
