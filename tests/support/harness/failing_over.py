"""A Redis with a replica that takes its place, behind an address that is moved."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.harness.moving_proxy import MovingProxy, run_moving_proxy
from tests.support.harness.redis_server import RedisServer
from tests.support.tools.waiting import wait_until


@dataclass
class Pair:
    """A primary with its replica, behind an address that leads to the primary."""

    first: RedisServer
    second: RedisServer
    proxy: MovingProxy

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.proxy.port}/0"

    def fail_over(self) -> None:
        """Turn the roles around; connections that are there stay where they are."""
        with self.first.client() as first, self.second.client() as second:

            def has_all() -> bool:
                here, there = first.info("replication"), second.info("replication")
                is_linked = there.get("master_link_status") == "up"
                offset = there.get("slave_repl_offset")
                return bool(is_linked and here["master_repl_offset"] == offset)

            wait_until(has_all, "the replica has all")
            second.replicaof("NO", "ONE")
            self.proxy.target = self.second.address
            host, port = self.second.address
            first.replicaof(host, str(port))


@contextmanager
def run_pair(folder: Path) -> Iterator[Pair]:
    """Run both, with their data in ``folder``."""
    with (
        RedisServer(folder / "1", "redis", "--repl-diskless-sync-delay", "0") as one,
        RedisServer(folder / "2") as two,
        run_moving_proxy(one.address) as proxy,
    ):
        with two.client() as replica:
            host, port = one.address
            replica.replicaof(host, str(port))
        yield Pair(one, two, proxy)
