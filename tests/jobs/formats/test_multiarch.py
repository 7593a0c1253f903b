"""Images for several platforms: one name for all, and a name for each."""

from tests.support.harness.jobs import JobRunner
from tests.support.images.oci import Image, build_image, digest_of, tar_of
from workers.formats.paths import flat_path, image_path
from workers.ledger import Outcome
from workers.reference import Reference

NAME = "atlas/analysis:v1"
BOTH = "[linux/amd64, linux/arm64]"
SHARED = tar_of({"data": b"the same on all"})


def built_for(platform: str) -> Image:
    return build_image([SHARED, tar_of({"cpu": platform.encode()})], platform=platform)


def push(runner: JobRunner, *platforms: str) -> dict[str, Image]:
    images = {platform: built_for(platform) for platform in platforms}
    runner.registry.push_index("atlas/analysis", "v1", list(images.values()))
    return images


def link(runner: JobRunner, path: bytes) -> bytes | None:
    """Return where a link in the repository leads, as it is written there."""
    dirent = runner.repository.read().lookup(path)
    return None if dirent is None else dirent.target


def name_of(runner: JobRunner) -> bytes:
    return image_path(Reference.parse(runner.reference(NAME)))


def test_one_name_leads_each_client_to_its_own_platform(runner: JobRunner) -> None:
    runner.allow(platforms=BOTH)
    images = push(runner, "linux/amd64", "linux/arm64/v8")
    runner.publish(NAME)
    name = name_of(runner)
    assert link(runner, name) == b"../../.multiarch/$(CVMFS_ARCH:-amd64)" + name
    for folder, image in zip((b"amd64", b"arm64"), images.values(), strict=True):
        path = b"/.multiarch/" + folder + name
        assert link(runner, path) == b"../../../.." + flat_path(image.config_digest)
        read = runner.repository.read()
        for file, wanted in (
            (b"manifest.json", image.manifest),
            (b"config.json", image.config),
        ):
            dirent = read.lookup(b"/.metadata" + path + b"/" + file)
            assert dirent is not None
            assert read.read(dirent) == wanted


def test_what_uname_calls_an_architecture_leads_to_it(runner: JobRunner) -> None:
    runner.allow(platforms="[linux/amd64, linux/arm64, linux/arm/v7]")
    push(runner, "linux/amd64", "linux/arm64", "linux/arm/v7")
    runner.publish(NAME)
    for said, meant in {
        b"x86_64": b"amd64",
        b"aarch64": b"arm64",
        b"armv7l": b"arm:v7",
    }.items():
        assert link(runner, b"/.multiarch/" + said) == meant


def test_a_layer_that_platforms_share_is_fetched_once(runner: JobRunner) -> None:
    runner.allow(platforms=BOTH)
    images = push(runner, "linux/amd64", "linux/arm64")
    runner.publish(NAME)
    [shared] = {digest_of(image.layers[0].blob) for image in images.values()}
    assert len(runner.registry.seen("GET", shared)) == 1


def test_a_platform_that_the_image_lacks_is_told_and_harms_no_other(
    runner: JobRunner,
) -> None:
    runner.allow(platforms=BOTH)
    push(runner, "linux/amd64")
    runner.want(NAME)
    run = runner.run(NAME)
    assert run.outcome is Outcome.PUBLISHED
    assert "no platform linux/arm64" in str(run.reason)
    assert link(runner, b"/.multiarch/amd64" + name_of(runner)) is not None
    assert link(runner, b"/.multiarch/arm64" + name_of(runner)) is None


def test_an_image_for_none_of_the_platforms_is_refused_with_all_that_it_has(
    runner: JobRunner,
) -> None:
    runner.allow(platforms=BOTH)
    push(runner, "linux/s390x")
    runner.want(NAME)
    run = runner.run(NAME)
    assert run.outcome is Outcome.FAILED
    assert "linux/s390x" in str(run.reason)
    assert link(runner, name_of(runner)) is None


def test_a_platform_that_is_gone_from_the_image_is_gone_from_its_names(
    runner: JobRunner,
) -> None:
    runner.allow(platforms=BOTH)
    push(runner, "linux/amd64", "linux/arm64")
    runner.publish(NAME)
    push(runner, "linux/amd64")
    runner.publish(NAME)
    arm = b"/.multiarch/arm64" + name_of(runner)
    assert link(runner, arm) is None
    assert runner.repository.read().lookup(b"/.metadata" + arm) is None


def test_a_rule_with_one_platform_again_leads_there_directly(runner: JobRunner) -> None:
    runner.allow(platforms=BOTH)
    images = push(runner, "linux/amd64", "linux/arm64")
    runner.publish(NAME)
    runner.allow()
    runner.publish(NAME)
    name = name_of(runner)
    wanted = b"../.." + flat_path(images["linux/amd64"].config_digest)
    assert link(runner, name) == wanted
    assert link(runner, b"/.multiarch/amd64" + name) is None
    assert link(runner, b"/.multiarch/arm64" + name) is None


def test_an_older_variant_of_the_architecture_will_do(runner: JobRunner) -> None:
    runner.allow(platforms="[linux/arm/v7]")
    push(runner, "linux/arm/v5", "linux/arm/v6", "linux/amd64")
    runner.publish(NAME)
    assert runner.file(NAME, "cpu") == b"linux/arm/v6"
