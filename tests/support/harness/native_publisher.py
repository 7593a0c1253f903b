"""The native publisher with the real parts around it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.harness.redis_server import RedisServer
from tests.support.repositories.repository_builders import FQRN, keys, save_keys
from workers.cvmfs import LocalStorage, Repository
from workers.cvmfs.signing.whitelist import fingerprint, write_whitelist
from workers.cvmfs.storage.storage import MANIFEST, WHITELIST
from workers.ledger import Ledger
from workers.publishing.native import NativePublisher
from workers.publishing.ready_queue import ReadyBatches
from workers.publishing.together import Scope, Together

ANYTHING = Scope(lambda _reference, _changes: None, lambda _tree, _reference: "")
"""Of tests that do not publish images: every change is allowed."""


class NativeParts:
    """A repository in a folder, its keys, and a publisher to it."""

    def __init__(self, folder: Path, together: Together | None) -> None:
        self.root, self.keys = folder / "storage", folder / "keys"
        self.together = together
        save_keys(keys(), self.keys)
        self.storage = LocalStorage(self.root, patience_seconds=0)
        now = int(time.time())
        Repository.create(FQRN, self.storage, keys(), now=now)
        self.publisher = self.new_publisher()

    def new_publisher(self) -> NativePublisher:
        return NativePublisher(FQRN, self.open, self.together)

    def open(self) -> Repository:
        # One each: a storage knows what it stored itself.
        storage = LocalStorage(self.root, patience_seconds=0)
        return Repository.open(FQRN, storage, self.keys)

    def put_out_of_reach(self) -> None:
        for name in ("data", MANIFEST):
            (self.root / name).rename(self.root / f"{name}-aside")

    def write_whitelist(self, now: int) -> None:
        master_key = keys().master_key
        assert master_key is not None
        names = [fingerprint(keys().certificate)]
        data = write_whitelist(FQRN, names, master_key, now=now)
        self.storage.replace(WHITELIST, data)


@contextmanager
def open_alone(folder: Path, _server: RedisServer) -> Iterator[NativeParts]:
    """Give a publisher that commits for itself."""
    yield NativeParts(folder, None)


@contextmanager
def open_together(folder: Path, server: RedisServer) -> Iterator[NativeParts]:
    """Give a publisher that commits with others."""
    with server.client() as connection:
        connection.flushall()
        ledger = Ledger(connection)
        queue = ReadyBatches(connection, ledger, FQRN, patience_seconds=0)
        yield NativeParts(folder, Together(queue, ANYTHING))
