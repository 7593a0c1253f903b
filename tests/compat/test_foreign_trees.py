"""Jobs on a repository that ``cvmfs_server`` keeps and another tool has filled."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.jobs import FQRN, JobRunner, open_job_runner
from tests.support.harness.redis_server import RedisServer
from tests.support.images import tars
from tests.support.images.oci import digest_of, gzip_layer
from tests.support.repositories.repository_builders import keys, save_keys
from tests.support.tools.cvmfs_server import StockServer, stock_server
from workers.formats.paths import flat_path, layer_path

LAYER = gzip_layer(
    tars.tar(
        tars.directory(b"usr"),
        tars.directory(b"usr/bin", mode=0o755),
        tars.file(b"usr/bin/tool", b"ours", mode=0o4755),
    )
)
NAME = "atlas/image:v1"
CATALOGS = {
    "none": (),
    "at the top": (".",),
    "deeper inside only": ("usr", "usr/bin"),
    "everywhere": (".", "usr", "usr/bin"),
}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[StockServer]:
    with stock_server(tmp_path / "machine") as machine:
        save_keys(keys(FQRN), machine.keys)
        machine.mkfs(FQRN, "-z", "-g")
        (tmp_path / "keys").symlink_to(machine.keys)
        (tmp_path / "cvmfs").symlink_to(machine.storage(FQRN))
        yield machine


@pytest.fixture
def runner(
    redis_server: RedisServer, machine: StockServer, tmp_path: Path
) -> Iterator[JobRunner]:
    with open_job_runner(redis_server, tmp_path, spool=machine.spool(FQRN)) as opened:
        yield opened


@pytest.mark.parametrize("catalogs", CATALOGS.values(), ids=CATALOGS)
def test_trees_that_stock_publish_wrote_are_made_again_whatever_catalogs_they_have(
    machine: StockServer, runner: JobRunner, catalogs: tuple[str, ...]
) -> None:
    image = runner.registry.push_image("atlas/image", "v1", [LAYER])
    flat = flat_path(image.config_digest)
    layer = layer_path(digest_of(LAYER.blob))
    lines = ["touch before"]
    for place in (flat, layer + b"/layerfs"):
        folder = place.decode()[1:]
        lines.append(f"mkdir -p {folder}/usr/bin")
        lines.append(f"echo theirs > {folder}/usr/bin/tool")
        lines.append(f"echo theirs > {folder}/usr/bin/theirs")
        lines += [f"touch {folder}/{inside}/.cvmfscatalog" for inside in catalogs]
    machine.publish(FQRN, "; ".join(lines))
    machine.check(FQRN)

    runner.publish(NAME)
    machine.check(FQRN)
    snapshot = runner.repository.read()
    for place in (flat, layer + b"/layerfs"):
        tool = snapshot.lookup(place + b"/usr/bin/tool")
        assert tool is not None
        assert (tool.mode & 0o7777, snapshot.read(tool)) == (0o4755, b"ours")
        assert snapshot.lookup(place + b"/usr/bin/theirs") is None
        assert snapshot.lookup(place + b"/usr/bin/.cvmfscatalog") is None
    machine.publish(FQRN, f"test -u {flat.decode()[1:]}/usr/bin/tool; touch after")
    machine.check(FQRN)
