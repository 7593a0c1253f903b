"""The native publisher with the real parts around it."""

import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.harness.redis_server import RedisServer
from tests.support.repositories.repository_builders import FQRN, keys, save_keys
from workers.cvmfs import Dirent, LocalStorage, Repository, StreamedTree, Tree
from workers.cvmfs.signing.whitelist import fingerprint, write_whitelist
from workers.cvmfs.storage.storage import WHITELIST
from workers.ledger import Lease, Ledger
from workers.publishing.group import ReadyQueue
from workers.publishing.native import NativePublisher
from workers.publishing.plan import Plan, Step
from workers.publishing.publisher import Fence
from workers.publishing.publisher import publish as publish_plans
from workers.publishing.ready_queue import ReadyBatches, fence_token

ROOT = Dirent(stat.S_IFDIR | 0o755)
TOKEN = fence_token(Lease("reference", "token", 1, 1, 0, hint=None, forced=False))
GO_ON = Fence(lambda: None, TOKEN)
"""Lets the publication happen."""


class NativeParts:
    """A repository in a folder, its keys, and a publisher to it."""

    def __init__(self, folder: Path, queue: ReadyQueue | None) -> None:
        self.root, self.keys = folder / "storage", folder / "keys"
        self.queue = queue
        save_keys(keys(), self.keys)
        self.storage = LocalStorage(self.root, patience_seconds=0)
        now = int(time.time())
        Repository.create(FQRN, self.storage, keys(), now=now)
        self.publisher = self.new_publisher()

    def new_publisher(self) -> NativePublisher:
        return NativePublisher(FQRN, self.open, self.queue)

    def open(self) -> Repository:
        return Repository.open(FQRN, self.storage, self.keys)

    def publish(self, *steps: Step) -> int:
        return publish_plans(self.publisher, [Plan("reference", steps)], GO_ON).revision

    def tree(self, **files: bytes) -> Tree:
        """Store files; return a tree of them."""
        put = self.publisher.sink.put_bytes
        entries = {
            name.encode(): Dirent(stat.S_IFREG | 0o644, content=put(data))
            for name, data in files.items()
        }
        return Tree(ROOT, {b"": entries})

    def write_whitelist(self, now: int) -> None:
        master_key = keys().master_key
        assert master_key is not None
        names = [fingerprint(keys().certificate)]
        data = write_whitelist(FQRN, names, master_key, now=now)
        self.storage.replace(WHITELIST, data)


@contextmanager
def open_native_parts(
    kind: str, folder: Path, redis_server: RedisServer
) -> Iterator[NativeParts]:
    """Give a publisher that commits ``alone``, or ``together`` with others."""
    if kind == "alone":
        yield NativeParts(folder, None)
        return
    with redis_server.client() as connection:
        connection.flushall()
        ledger = Ledger(connection)
        queue = ReadyBatches(connection, ledger, FQRN, patience_seconds=0)
        yield NativeParts(folder, queue)


def accept(_written: StreamedTree) -> None:
    """Verify nothing."""
