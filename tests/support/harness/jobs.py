"""Jobs run in this process, with real parts: registry, Redis, a native repository.

with open_job_runner(redis_server, tmp_path) as runner:
    runner.registry.push_image("atlas/debian", "12", [tar_of({"motd": b"hi"})])
    runner.want("atlas/debian:12")
    runner.run("atlas/debian:12")
    assert runner.image("atlas/debian:12").state is State.LIVE
"""

import dataclasses
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.harness.ledger import StoppedClock
from tests.support.harness.redis_server import RedisServer
from tests.support.images.tree_listing import Listing, list_tree
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.misbehaving_server import Reply
from tests.support.repositories.repository_builders import keys, save_new_keys
from workers.care.repository import create_missing_repositories
from workers.config import load_config
from workers.cvmfs import Content, Dirent, Repository
from workers.formats.paths import flat_path, image_path
from workers.jobs import run_job
from workers.ledger import Accepted, Hint, ImageRecord, Ledger, Outcome, RunRecord
from workers.publishing.publisher import (
    Fence,
    Prepared,
    Publication,
    PublishedTree,
    Publisher,
)
from workers.reference import Reference
from workers.wiring import Services, open_repository

FQRN = "unpacked.example.org"
PASSWORD = "s3cret-password"  # the one that FakeRegistry knows


@dataclass
class JobRunner:
    """Everything that a job touches.

    Attributes:
        registry: holds the images; its host stands before all names here.
        services: what a job gets.
        clock: the ledger's own; it begins now and stands still.
        config: the file.
    """

    registry: FakeRegistry
    services: Services
    clock: StoppedClock
    config: Path

    @property
    def ledger(self) -> Ledger:
        return self.services.front.ledger

    @property
    def repository(self) -> Repository:
        return open_repository(self.services.config, FQRN)

    @property
    def revision(self) -> int:
        """The revision that readers see."""
        return self.repository.head().revision

    def reference(self, name: str) -> str:
        return f"{self.registry.host}/{name}"

    def write_policy(self, text: str) -> None:
        """Replace the policy, as an editor does."""
        path = self.services.config.policy
        aside = path.with_suffix(".new")
        aside.write_text(text)
        aside.replace(path)

    def allow(self, **settings: object) -> None:
        """Allow all images, with further settings of the rule."""
        rule = {"allow": f"{self.registry.host}/**", **settings}
        lines = "".join(f"\n    {key}: {value}" for key, value in rule.items())
        self.write_policy(f"version: 1\nrules:\n  - {lines.lstrip()}\n")

    def want(
        self,
        name: str,
        digest: str | None = None,
        *,
        age: float = 3600.0,
        forced: bool = False,
    ) -> Accepted:
        """Push a reference, as a sender does whose notification we took so long ago."""
        self.clock.passes(-age)
        try:
            return self.ledger.request(
                self.reference(name),
                source="test",
                forced=forced,
                hint=Hint(digest, "test"),
            )
        finally:
            self.clock.passes(age)

    def run(self, name: str) -> RunRecord:
        """Work off a reference; return the record of that run."""
        run_job(self.services, Reference.parse(self.reference(name)))
        return self.ledger.runs(self.reference(name), 1)[0]

    def publish(self, name: str, *, forced: bool = False) -> ImageRecord:
        """Push and work off what must become live."""
        self.want(name, forced=forced)
        run = self.run(name)
        assert run.outcome in {Outcome.PUBLISHED, Outcome.UNCHANGED}, run.reason
        return self.image(name)

    def image(self, name: str) -> ImageRecord:
        """Return a record that there must be."""
        record = self.ledger.image(self.reference(name))
        assert record is not None
        return record

    def expire_leases_and_claims(self) -> None:
        """Let so much time pass that nothing is left of a dead process's rights."""
        self.clock.passes(60)
        connection = self.services.front.connection
        for claim in connection.scan_iter("cvmfs-webhook:claim:*"):
            connection.delete(claim)  # by Redis's own clock it would take half a minute

    def wait_for_next_try(self, name: str) -> None:
        """Let the ledger's time pass until the reference is tried again."""
        next_try = self.image(name).next_try
        assert next_try is not None
        self.clock.time = max(self.clock.time, next_try) + 0.001

    def file(self, name: str, path: str) -> bytes | None:
        """Return a file of what is published under a tag; None if there is none."""
        snapshot = self.repository.read()
        tag = image_path(Reference.parse(self.reference(name)))
        link = snapshot.lookup(tag)
        if link is None:
            return None
        assert stat.S_ISLNK(link.mode)
        tree = os.path.normpath(os.path.dirname(tag) + b"/" + link.target)  # noqa: PTH120 - bytes
        dirent = snapshot.lookup(tree + b"/" + path.encode())
        return None if dirent is None else snapshot.read(dirent)

    def listing(self, config_digest: str) -> Listing:
        """Return all that is in the root file system that was published of an image."""
        snapshot = self.repository.read()

        def read(content: Content) -> list[bytes]:
            return [snapshot.read(Dirent(0o100644, content=content))]

        return list_tree(snapshot.tree(flat_path(config_digest)), read)

    def when_registry_is_asked(
        self,
        pattern: str,
        do: Callable[[], object],
        *,
        method: str = "GET",
        times: int | None = 1,
    ) -> None:
        """Do something at the moment when the registry is asked for something."""

        def spoil(_path: str, reply: Reply) -> Reply:
            do()
            return reply

        self.registry.spoil(method, pattern, spoil, times=times)

    def replace_publisher(self, change: Callable[[Publisher], Publisher]) -> None:
        """Put something between the jobs and the repository."""
        changed = {FQRN: change(self.services.publishers[FQRN])}
        self.services = dataclasses.replace(self.services, publishers=changed)


class PublisherWithHooks:
    """A publisher that does something first; everything else is the real one's."""

    def __init__(
        self,
        publisher: Publisher,
        *,
        before_publish: Callable[[], object] = lambda: None,
        after_publish: Callable[[], object] = lambda: None,
        before_read: Callable[[], object] = lambda: None,
    ) -> None:
        self._publisher = publisher
        self._before_publish = before_publish
        self._after_publish = after_publish
        self._before_read = before_read
        self.sink = publisher.sink
        self.holds_whiteouts = publisher.holds_whiteouts
        self.prepare = publisher.prepare
        self.discard = publisher.discard

    def published(self) -> PublishedTree:
        self._before_read()
        return self._publisher.published()

    def commit(self, prepared: Sequence[Prepared], fence: Fence) -> Publication:
        self._before_publish()
        publication = self._publisher.commit(prepared, fence)
        self._after_publish()
        return publication


@contextmanager
def open_job_runner(
    redis_server: RedisServer, folder: Path, **settings: object
) -> Iterator[JobRunner]:
    """Give a job runner with an empty ledger on ``server`` that allows every image.

    Args:
        server: holds the ledger.
        folder: the configuration's; ``cvmfs`` and ``keys`` in it are the repository's.
        settings: further ones of the repository.
    """
    with FakeRegistry() as registry:
        path = _write_config(folder, redis_server.url, registry, settings)
        save_new_keys(keys(FQRN), folder / "keys")
        config = load_config(path, {})
        with redis_server.client() as connection:
            connection.flushall()
        create_missing_repositories(config)
        with Services.open(config) as opened:
            clock = StoppedClock(time.time())
            ledger = Ledger(opened.front.connection, clock=clock)
            front = dataclasses.replace(opened.front, ledger=ledger)
            services = dataclasses.replace(opened, front=front)
            runner = JobRunner(registry, services, clock, path)
            runner.allow()
            yield runner


def _write_config(
    folder: Path,
    redis_url: str,
    registry: FakeRegistry,
    settings: Mapping[str, object],
) -> Path:
    more = "".join(f", {key}: {value}" for key, value in settings.items())
    username, password = registry.credentials
    path = folder / "config.yaml"
    path.write_text(
        f"""\
state: .
queue: {{url: "{redis_url}"}}
policy: policy.yaml
sources:
  local: {{kind: distribution, registry: "{registry.host}", secret: unused}}
registries:
  "{registry.host}":
    {{plain_http: true, username: {username}, password: "{password}"}}
repositories:
  {FQRN}: {{storage: "{(folder / "cvmfs").as_uri()}", keys: keys, ttl: 60{more}}}
"""
    )
    return path
