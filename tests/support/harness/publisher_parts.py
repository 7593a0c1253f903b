"""A publisher of any kind with the real parts around it."""

import stat
from typing import Protocol

from workers.cvmfs import Dirent, StreamedTree, Tree
from workers.ledger import Lease
from workers.publishing.plan import Plan, Step
from workers.publishing.publisher import Fence, Publisher, publish
from workers.publishing.ready_queue import fence_token

ROOT = Dirent(stat.S_IFDIR | 0o755)
TOKEN = fence_token(Lease("reference", "token", 1, 1, 0, hint=None, forced=False))
GO_ON = Fence(lambda: None, TOKEN)
"""Lets the publication happen."""


class PublisherParts(Protocol):
    """A new repository named ``repository_builders.FQRN``, and publishers to it."""

    @property
    def publisher(self) -> Publisher:
        """One publisher, always the same."""

    def new_publisher(self) -> Publisher:
        """Return one more publisher to the same repository."""

    def put_out_of_reach(self) -> None:
        """Make the repository one that can neither be read nor written."""


def publish_steps(parts: PublisherParts, *steps: Step) -> int:
    """Publish one plan; return the revision that readers see it in."""
    return publish(parts.publisher, [Plan("reference", steps)], GO_ON).revision


def store_tree(parts: PublisherParts, **files: bytes) -> Tree:
    """Store files; return a tree of them."""
    put = parts.publisher.sink.put_bytes
    entries = {
        name.encode(): Dirent(stat.S_IFREG | 0o644, content=put(data))
        for name, data in files.items()
    }
    return Tree(ROOT, {b"": entries})


def accept(_written: StreamedTree) -> None:
    """Verify nothing."""
