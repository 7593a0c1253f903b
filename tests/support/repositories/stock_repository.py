"""A repository of the stock tools, written to by ours beside them."""

import os
import time
from dataclasses import dataclass

from tests.support.repositories.repository_builders import is_mountpoint, small_tree
from tests.support.tools.cvmfs_server import StockServer
from workers.cvmfs import (
    GraftTree,
    KeyRing,
    LocalStorage,
    Repository,
    Revision,
)
from workers.cvmfs.storage.shared_with_stock import StockStorage

FQRN = f"stock-{os.getpid()}.example.org"
"""Another for each process of a test run: the lock looks at all of the machine's."""


@dataclass(frozen=True, slots=True)
class StockRepository:
    """Our hands on a repository of a stock server.

    Attributes:
        server: the machine.
        fqrn: the repository's name.
    """

    server: StockServer
    fqrn: str = FQRN

    def storage(self, *, patience_seconds: float = 0) -> StockStorage:
        """Return the storage, with the locks of the stock tools."""
        return StockStorage(
            LocalStorage(self.server.storage(self.fqrn)),
            self.server.spool(self.fqrn),
            self.fqrn,
            patience_seconds=patience_seconds,
        )

    def keys(self) -> KeyRing:
        """Return its keys, where ``mkfs`` or ``import`` put them."""
        return KeyRing.load(self.fqrn, self.server.keys)

    def repository(self, *, patience_seconds: float = 0) -> Repository:
        """Open it."""
        return Repository.open(
            self.fqrn,
            self.storage(patience_seconds=patience_seconds),
            self.server.keys,
            is_mountpoint=is_mountpoint,
        )

    def publish(self, name: bytes, *, patience_seconds: float = 0) -> Revision:
        """Publish a small tree as ``/.flat/ab/<name>``."""
        repository = self.repository(patience_seconds=patience_seconds)
        path = b"/.flat/ab/" + name
        tree = small_tree(repository.sink, name)
        prepared = repository.prepare(path, tree)
        return repository.commit([GraftTree(path, prepared)], now=int(time.time()))

    def has(self, path: str) -> bool:
        """Tell whether the head has something at a path."""
        return self.repository().read().lookup(path.encode()) is not None
