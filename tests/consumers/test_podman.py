"""Podman runs published images from an exported store."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner, open_job_runner
from tests.support.harness.redis_server import RedisServer
from tests.support.images import tars
from tests.support.images.oci import (
    Image,
    Layer,
    build_image,
    gzip_layer,
    write_layout,
)
from tests.support.tools.podman import (
    ORDINARY_USER,
    Podman,
    empty_store,
    programs_layer,
    require_podman,
    require_rootless_podman,
)
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


def export(runner: JobRunner, folder: Path) -> None:
    assert not export_directory(runner.repository.read(), b"", folder).losses


def publish(runner: JobRunner) -> tuple[Image, Image]:
    base = programs_layer(
        tars.directory(b"tmp", mode=0o1777),
        tars.directory(b"data"),
        tars.file(b"data/gone", b"gone"),
        tars.file(b"data/changed", b"lower\n"),
        tars.directory(b"data/opaque"),
        tars.file(b"data/opaque/lower", b""),
        tars.file(b"data/setuid", b"", mode=0o4755, uid=7, gid=8),
        tars.xattrs({b"user.note": b"kept"}, tars.file(b"data/noted", b"")),
        tars.symlink(b"data/symlink", b"opaque"),
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
    other = gzip_layer(
        tars.tar(
            tars.file(b"data/other", b"other\n"),
            tars.file(b"data/symlink/through", b""),
            tars.whiteout(b"data/never/was"),
        )
    )
    runner.allow(formats="[podman]")
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
        runner.registry.push_image("atlas/analysis", "v1", [base, top], config=config),
        # The layer that is on top there is on top of another one here.
        runner.registry.push_image("atlas/other", "v1", [base, other, top]),
    )
    # As of a Dockerfile with two lines that change nothing, and one that is repeated.
    empty = gzip_layer(tars.tar())
    runner.registry.push_image(
        "atlas/twice", "v1", [base, empty, top, other, empty, top, empty]
    )
    runner.registry.push_image("atlas/passed", "v1", [base, *passed_layers()])
    linked = gzip_layer(
        tars.tar(tars.hard_link(b"linked", b"data/changed"), tars.whiteout(b"data"))
    )
    runner.registry.push_image("atlas/linked", "v1", [base, linked])
    for name in ("analysis", "other", "twice", "passed", "linked"):
        runner.publish(f"atlas/{name}:v1")
    return images


def passed_layers() -> list[Layer]:
    """Return a layer of closed directories, and one that names none of them."""
    closed = (
        tars.directory(b"./", mode=0o700, uid=31337),
        tars.directory(b"tmp", mode=0o700, uid=7),
        tars.directory(b"srv", mode=0o700, uid=7, gid=8),
    )
    named = (tars.file(b"tmp/cache/seed", b"s"), tars.file(b"srv/app/main", b"m"))
    return [gzip_layer(tars.tar(*closed)), gzip_layer(tars.tar(*named))]


@pytest.fixture(scope="module")
def published(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Published:
    require_podman(tmp_path_factory.mktemp("probe"))
    folder = tmp_path_factory.mktemp("published")
    with open_job_runner(redis_server, folder) as runner:
        analysis, other = publish(runner)
        export(runner, folder / "export")
        return Published(folder / "export", runner.registry.host, analysis, other)


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


@pytest.fixture
def alone(published: Published, tmp_path: Path) -> Podman:
    """Podman without the store, into which the other image is pulled."""
    write_layout(tmp_path / "layout", "latest", published.other)
    alone = Podman(tmp_path / "alone", empty_store(tmp_path))
    alone("pull", f"oci:{tmp_path}/layout:latest")
    return alone


def test_layers_have_the_names_that_podman_gives_them(
    published: Published, podman: Podman, alone: Podman, tmp_path: Path
) -> None:
    # So that what is pulled finds those that are in the store.
    path = "overlay-layers/layers.json"
    own = json.loads((alone.folder / "root" / path).read_text())
    ours = json.loads((published.store / path).read_text())
    assert {layer["id"] for layer in own} <= {layer["id"] for layer in ours}
    podman("pull", f"oci:{tmp_path}/layout:latest")
    assert not (podman.folder / "root" / path).exists()


def test_what_is_odd_in_a_stack_of_layers_is_so_where_podman_unpacks_it(
    published: Published, podman: Podman, alone: Podman
) -> None:
    # A layer that goes through a symlink hides it, and one that deletes what is nowhere
    # makes a directory for it.
    script = "stat -c '%F %n' symlink symlink/* never; cat never/was || ls opaque"
    container = (published.name("other:v1"), "/bin/sh", "-c", script)
    said = podman.run("--workdir=/data", *container)
    identity = published.other.config_digest.removeprefix("sha256:")
    assert said == alone.run("--workdir=/data", identity, *container[1:])
    assert said == (
        "directory symlink\nregular empty file symlink/through\n"
        "directory never\nupper\n"
    )


def test_an_image_may_have_the_same_layer_more_than_once(
    published: Published, podman: Podman
) -> None:
    # Which an overlay may not: it says that there are too many symbolic links.
    script = f"{LOOK} || echo none; cat other"
    name = published.name("twice:v1")
    said = podman.run("--workdir=/data", name, "/bin/sh", "-c", script)
    assert said == "upper\nupper\n4755 7 8\nnone\nother\n"
    assert len(podman.inspect(name)["RootFS"]["Layers"]) == 7


def test_directories_that_no_member_names_look_as_where_podman_unpacks_them(
    published: Published, podman: Podman, tmp_path: Path
) -> None:
    """The published layer was first on a base where they are open, or not there."""
    script = "stat -c '%a %u %g %n' / /tmp /tmp/cache /srv /srv/app"
    name = published.name("passed:v1")
    said = podman.run("--entrypoint=/bin/sh", name, "-c", script)
    assert said == "".join(
        f"755 0 0 {path}\n" for path in ("/", "/tmp", "/tmp/cache", "/srv", "/srv/app")
    )
    base = programs_layer(tars.directory(b"tmp", mode=0o1777))
    image = build_image([base, *passed_layers()])
    write_layout(tmp_path / "layout", "latest", image)
    alone = Podman(tmp_path / "alone", empty_store(tmp_path))
    alone("pull", f"oci:{tmp_path}/layout:latest")
    identity = image.config_digest.removeprefix("sha256:")
    unpacked = alone.run("--entrypoint=/bin/sh", identity, "-c", script)
    assert unpacked.splitlines()[1:] == said.splitlines()[1:]


def test_a_layer_that_is_nothing_alone_is_whole_in_its_image(
    published: Published, podman: Podman
) -> None:
    script = "cat /linked; ls /data || echo none"
    name = published.name("linked:v1")
    assert podman.run("--entrypoint=/bin/sh", name, "-c", script) == "lower\nnone\n"


# What is made of an image. To podman and buildah a symbolic link in place of a layer is
# some other tool's, which has to be absolute. If a test here fails because nothing is
# refused any more, the README need not speak of it any more.


def test_what_podman_builds_upon_an_image_must_be_squashed(
    published: Published, podman: Podman, tmp_path: Path
) -> None:
    image = published.name("analysis:v1")
    (tmp_path / "Containerfile").write_text(f"FROM {image}\nRUN echo new > /data/new\n")
    build = ("build", "--isolation=chroot", "--pull=never", "--tag=built:1")
    refused = podman.tried(*build, str(tmp_path))
    assert "linkpath must be absolute" in refused.stderr
    podman(*build, "--squash-all", str(tmp_path))
    said = podman.run("localhost/built:1", "cat changed new; ls -A opaque")
    assert said == "upper\nnew\nupper\n"


def test_what_buildah_makes_of_an_image_must_be_squashed(
    published: Published, podman: Podman
) -> None:
    def buildah(*arguments: str) -> str:
        return podman(*arguments, program="buildah")

    buildah("from", "--pull-never", "--name=made", published.name("analysis:v1"))
    script = "echo new > /data/new; cat /data/changed"
    ran = buildah("run", "--isolation=chroot", "made", "/bin/sh", "-c", script)
    assert ran == "upper\n"
    refused = podman.tried("commit", "made", "made:1", program="buildah")
    assert "linkpath must be absolute" in refused.stderr
    buildah("commit", "--squash", "made", "made:1")
    assert (
        podman.run("localhost/made:1", "cat new; ls gone || echo none") == "new\nnone\n"
    )


# Of ordinary users.


@pytest.fixture
def rootless(published: Published, tmp_path: Path) -> Podman:
    require_rootless_podman(tmp_path / "probe")
    return Podman(tmp_path / "podman", published.store, ORDINARY_USER)


def test_ordinary_users_see_what_upper_layers_delete_and_replace(
    published: Published, rootless: Podman
) -> None:
    # Nobody there is who owns the image's files.
    name = published.name("other:v1")
    script = f"{LOOK} || echo none; cat other"
    said = rootless.run("--workdir=/data", name, "/bin/sh", "-c", script)
    assert said == "upper\nupper\n4755 65534 65534\nnone\nother\n"


def test_ordinary_users_write_where_something_is_mounted_but_not_over_the_image(
    published: Published, rootless: Podman
) -> None:
    # An overlay's copy would have to have the owner of what is copied. If this fails,
    # the README need not say so any more.
    image, script = published.name("analysis:v1"), "echo new > /tmp/new; cat /tmp/new"
    refused = rootless.tried("run", "--rm", "--pull=never", image, script)
    assert "cannot create /tmp/new: Value too large" in refused.stderr
    assert rootless.run("--read-only", image, script) == "new\n"
