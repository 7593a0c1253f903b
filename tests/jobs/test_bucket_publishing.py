"""Publishing to a repository in a bucket, from the configuration to the reader."""

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from tests.support.harness.jobs import open_job_runner
from tests.support.harness.redis_server import RedisServer
from tests.support.images.oci import tar_of
from tests.support.repositories.repository_builders import keys, save_new_keys
from tests.support.repositories.s3_server import (
    ACCESS_KEY,
    BUCKET,
    SECRET_KEY,
    S3Server,
    s3_server,
)
from webhook.machine.setup import setup_lines
from webhook.web.cvmfs_files import local_roots
from workers.care.repository import check_repository, create_missing_repositories
from workers.config import Config, load_config
from workers.cvmfs import FormatError
from workers.formats.paths import image_path, metadata_path
from workers.jobqueue import JobQueue
from workers.ledger import Ledger
from workers.publishing.native import NativePublisher
from workers.publishing.plan import FileAt, LinkAt, Plan
from workers.publishing.publisher import Fence, RepositoryUnavailable
from workers.publishing.publisher import publish as publish_plans
from workers.publishing.ready_queue import fence_token
from workers.reference import Reference
from workers.wiring import Front, open_publisher, open_repository

FQRN = "unpacked.example.org"


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def config(server: S3Server, tmp_path: Path) -> Config:
    save_new_keys(keys(FQRN), tmp_path / "keys")
    (tmp_path / "secret").write_text(SECRET_KEY + "\n")
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""\
state: .
repositories:
  {FQRN}:
    storage: s3://{BUCKET}/cvmfs/{FQRN}
    keys: keys
    s3:
      endpoint: {server.url}
      access_key: "${{KEY}}"
      secret_key_file: secret
"""
    )
    return load_config(path, {"KEY": ACCESS_KEY})


PLAN = Plan(
    "docker.io/atlas/analysis:v1",
    (
        FileAt(b"/.metadata/docker.io/atlas/analysis:v1/config.json", b"{}"),
        LinkAt(b"/docker.io/atlas/analysis:v1", b"../../.flat/ab/abcd"),
    ),
)


def test_an_image_is_published_to_a_bucket_and_is_sound(
    config: Config, redis_server: RedisServer, server: S3Server, tmp_path: Path
) -> None:
    create_missing_repositories(config)
    create_missing_repositories(config)
    folder = tmp_path / "shop"
    folder.mkdir()
    with open_job_runner(redis_server, folder) as runner:
        runner.replace_publisher(
            lambda _: open_publisher(config, FQRN, runner.services.front)
        )
        files = {f"usr/share/{number}": b"%d" % number for number in range(300)}
        large = os.urandom(20_000_000)
        layers = [tar_of({**files, "etc/motd": b"old", "large": large})]
        runner.registry.push_image("atlas/analysis", "v1", layers)
        assert runner.publish("atlas/analysis:v1").revision == 2
        layers.append(tar_of({"etc/motd": b"new"}))
        runner.registry.push_image("atlas/analysis", "v1", layers)
        assert runner.publish("atlas/analysis:v1").revision == 3
        tag = image_path(Reference.parse(runner.reference("atlas/analysis:v1")))
    snapshot = open_repository(config, FQRN).read()
    link = snapshot.lookup(tag)
    assert link is not None
    tree = tag.rpartition(b"/")[0] + b"/" + link.target
    expected = {**files, "etc/motd": b"new", "large": large}
    for name, data in expected.items():
        dirent = snapshot.lookup(os.path.normpath(tree) + b"/" + name.encode())
        assert dirent is not None
        assert snapshot.read(dirent) == data
    found = check_repository(config, FQRN, contents=True, tell=lambda _: None)
    assert list(found) == []
    assert all(key.startswith(f"cvmfs/{FQRN}/") for key in server.objects)


def test_a_bucket_that_is_away_is_worth_another_try(
    config: Config, server: S3Server
) -> None:
    create_missing_repositories(config)
    repository = open_repository(config, FQRN)
    publisher = NativePublisher(FQRN, lambda: repository)
    server.refuse = lambda _: 403
    with pytest.raises(RepositoryUnavailable, match=FQRN):
        publish_plans(publisher, [PLAN], Fence(lambda: None))
    server.refuse = lambda _: None
    assert publish_plans(publisher, [PLAN], Fence(lambda: None)).revision == 2


def test_a_bucket_without_conditions_is_refused_at_start(
    config: Config, server: S3Server
) -> None:
    server.ignored = {"if-match"}
    with pytest.raises(FormatError, match="ignores If-Match: two publishers could"):
        create_missing_repositories(config)
    assert server.objects == {}


def test_clients_are_told_to_read_the_bucket_itself(
    config: Config, server: S3Server
) -> None:
    text = "\n".join(setup_lines(config)) + "\n"
    assert f"CVMFS_SERVER_URL={server.url}/{BUCKET}/cvmfs/{FQRN}\n" in text
    assert f"allowed to get objects under s3://{BUCKET}/cvmfs/{FQRN}/" in text
    assert SECRET_KEY not in text
    assert local_roots(config) == {}


def test_what_is_ready_meanwhile_goes_into_few_revisions_of_a_bucket(
    config: Config, redis_server: RedisServer, server: S3Server
) -> None:
    create_missing_repositories(config)
    names = [f"docker.io/atlas/image-{number}:v1" for number in range(12)]
    revisions: dict[str, int] = {}

    def place(name: str) -> bytes:
        return metadata_path(Reference.parse(name)) + b"/config.json"

    def publish(name: str) -> None:
        # As processes do, which share neither connections nor uploads.
        with redis_server.client() as connection:
            front = Front(connection, Ledger(connection), JobQueue(connection))
            lease = front.ledger.begin(name, worker="worker")
            assert lease is not None
            fence = Fence(lambda: None, fence_token(lease))
            data = name.encode()
            plan = Plan(name, (FileAt(place(name), data),))
            publisher = open_publisher(config, FQRN, front)
            revisions[name] = publish_plans(publisher, [plan], fence).revision

    with redis_server.client() as connection:
        connection.flushall()
        for name in names:
            Ledger(connection).request(name, source="test")
    threads = [Thread(target=publish, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    repository = open_repository(config, FQRN)
    snapshot = repository.read()
    for name in names:
        dirent = snapshot.lookup(place(name))
        assert dirent is not None
        assert snapshot.read(dirent) == name.encode()
        assert 2 <= revisions[name] <= repository.head().revision
    assert repository.head().revision < 1 + len(names)
    found = check_repository(config, FQRN, contents=True, tell=lambda _: None)
    assert list(found) == []
