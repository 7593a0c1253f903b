"""Podman runs published images from an exported store."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import tars
from tests.support.jobs import Workshop, workshop_on
from tests.support.oci import Image, gzip_layer, write_layout
from tests.support.podman import Podman, programs_layer, require_podman
from tests.support.redis import RedisServer
from workers.exporting import export_directory

LOOK = "cat changed; ls -A opaque; stat -c '%a %u %g' setuid; ls gone"


@dataclass(frozen=True, slots=True)
class Published:
    """Two images that share their lowest layer, in an exported repository."""

    folder: Path
    host: str
    analysis: Image
    other: Image

    @property
    def store(self) -> Path:
        return self.folder / "podmanStore"

    def name(self, rest: str) -> str:
        return f"{self.host}/atlas/{rest}"


def export(shop: Workshop, folder: Path) -> None:
    assert not export_directory(shop.repository.read(), b"", folder).losses


def publish(shop: Workshop) -> tuple[Image, Image]:
    base = programs_layer(
        tars.directory(b"data"),
        tars.file(b"data/gone", b"gone"),
        tars.file(b"data/changed", b"lower\n"),
        tars.directory(b"data/opaque"),
        tars.file(b"data/opaque/lower", b""),
        tars.file(b"data/setuid", b"", mode=0o4755, uid=7, gid=8),
        tars.xattrs({b"user.note": b"kept"}, tars.file(b"data/noted", b"")),
    )
    top = gzip_layer(
        tars.tar(
            tars.whiteout(b"data/gone"),
            tars.file(b"data/changed", b"upper\n"),
            tars.directory(b"data/opaque"),
            tars.opaque(b"data/opaque"),
            tars.file(b"data/opaque/upper", b""),
        )
    )
    other = gzip_layer(tars.tar(tars.file(b"data/other", b"other\n")))
    shop.allow(formats="[podman]")
    config = {
        "created": "2024-02-03T04:05:06.123456789Z",
        "config": {
            "Env": ["PATH=/bin", "GREETING=it's me"],
            "Entrypoint": ["/bin/sh", "-c"],
            "Cmd": ["echo $GREETING from $PWD"],
            "WorkingDir": "/data",
        },
    }
    images = (
        shop.registry.push_image("atlas/analysis", "v1", [base, top], config=config),
        # The layer that is on top there is on top of another one here.
        shop.registry.push_image("atlas/other", "v1", [base, other, top]),
    )
    for name in ("atlas/analysis:v1", "atlas/other:v1"):
        shop.publish(name)
    return images


@pytest.fixture(scope="module")
def published(
    server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Published:
    require_podman(tmp_path_factory.mktemp("probe"))
    folder = tmp_path_factory.mktemp("published")
    with workshop_on(server, folder) as shop:
        analysis, other = publish(shop)
        export(shop, folder / "export")
        return Published(folder / "export", shop.registry.host, analysis, other)


@pytest.fixture
def podman(published: Published, tmp_path: Path) -> Podman:
    return Podman(tmp_path / "podman", published.store)


def test_a_container_runs_as_its_image_says(
    published: Published, podman: Podman
) -> None:
    image = published.name("analysis:v1")
    assert podman.run(image) == "it's me from /data\n"


def test_upper_layers_delete_and_replace_and_are_written_over(
    published: Published, podman: Podman
) -> None:
    # In one container, as podman waits long for each to be gone on some machines.
    note = "getfattr --only-values --name=user.note noted; echo"
    script = f"{LOOK} || echo none; {note}; echo back > gone; cat gone other"
    name = published.name("other:v1")
    said = podman.run("--workdir=/data", name, "/bin/sh", "-c", script)
    assert said == "upper\nupper\n4755 7 8\nnone\nkept\nback\nother\n"


def test_images_are_known_by_name_and_digest(
    published: Published, podman: Podman
) -> None:
    analysis, other = published.analysis, published.other
    by_digest = published.name(f"analysis@{analysis.digest}")
    assert {published.name("analysis:v1"), published.name("other:v1")} <= podman.names()
    said = podman.inspect(published.name("analysis:v1"))
    assert said["Id"] == analysis.config_digest.removeprefix("sha256:")
    assert said["Digest"] == analysis.digest
    assert said["RepoTags"] == [published.name("analysis:v1")]
    assert said["RepoDigests"] == [by_digest]
    assert said["Created"].startswith("2024-02-03T04:05:06")
    assert said["Config"] == json.loads(analysis.config)["config"]
    assert said["RootFS"]["Layers"] == [layer.diff_id for layer in analysis.layers]
    assert said["Size"] > 1_000_000
    assert podman.inspect(by_digest)["Id"] == said["Id"]
    assert podman.inspect(published.name("other:v1"))["Digest"] == other.digest


def test_layers_have_the_names_that_podman_gives_them(
    published: Published, podman: Podman, tmp_path: Path
) -> None:
    # So that what is pulled finds those that are in the store.
    write_layout(tmp_path / "layout", "latest", published.other)
    alone = Podman(tmp_path / "alone", tmp_path / "empty")
    for name in ("overlay", "overlay-layers", "overlay-images"):
        (tmp_path / "empty" / name).mkdir(parents=True)
    alone("pull", f"oci:{tmp_path}/layout:latest")
    path = "overlay-layers/layers.json"
    own = json.loads((alone.folder / "root" / path).read_text())
    ours = json.loads((published.store / path).read_text())
    assert {layer["id"] for layer in own} <= {layer["id"] for layer in ours}
    podman("pull", f"oci:{tmp_path}/layout:latest")
    assert not (podman.folder / "root" / path).exists()
