"""What nobody uses goes, and nothing else does."""

import json
import time
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.harness.jobs import FQRN, JobRunner, PublisherWithHooks
from tests.support.images.oci import Image, build_image, tar_of
from webhook.cli import main
from workers.cvmfs import (
    CollectableStorage,
    ContentHash,
    Kind,
    PutFile,
    PutLink,
    RemovePath,
    Retention,
    collect_garbage,
)
from workers.formats.history import former_path
from workers.formats.paths import flat_path, layer_path, squashed_path
from workers.images.manifest import parse_manifest
from workers.ledger import Outcome, State, orders
from workers.published.unused import NotUnderstood, TooBusy, find_unused, prune
from workers.reference import Reference

NAME, OTHER = "atlas/analysis:v1", "atlas/analysis:v2"
SHARED = tar_of({"shared": b"by both"})
FIRST = [SHARED, tar_of({"etc/motd": b"first"})]
SECOND = [SHARED, tar_of({"etc/motd": b"second"})]


def publish(runner: JobRunner, layers: list[bytes], name: str = NAME) -> Image:
    repository, _, tag = name.partition(":")
    image = runner.registry.push_image(repository, tag, layers)
    runner.publish(name)
    return image


def remove(runner: JobRunner, name: str = NAME) -> None:
    runner.ledger.request(
        runner.reference(name), source="operator", order=orders.REMOVE
    )
    assert runner.run(name).outcome is Outcome.REMOVED


def trees(image: Image) -> list[bytes]:
    """Return the paths of an image's root file system and layers."""
    layers = [
        layer_path(layer.digest) for layer in parse_manifest(image.manifest).layers
    ]
    return [flat_path(image.config_digest), *layers]


def held(runner: JobRunner, image: Image) -> list[bool]:
    snapshot = runner.repository.read()
    return [snapshot.lookup(path) is not None for path in trees(image)]


def command(runner: JobRunner, *words: str) -> Result:
    config = ("--config", str(runner.config))
    return CliRunner().invoke(main, ["repository", "prune", FQRN, *words, *config])


def ask(runner: JobRunner, *words: str) -> Any:
    result = command(runner, *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def commit(runner: JobRunner, *changes: PutFile | PutLink | RemovePath) -> None:
    runner.repository.commit(changes, now=int(time.time()))


LATER = time.time() + 1_000_000


def test_what_only_a_removed_name_used_goes_and_what_others_use_stays(
    runner: JobRunner,
) -> None:
    first, second = publish(runner, FIRST), publish(runner, SECOND, OTHER)
    remove(runner)

    found, revision = prune(runner.services.publishers[FQRN], FQRN, since=LATER)

    assert revision == runner.revision == found.revision + 1
    assert held(runner, first) == [False, True, False]
    assert held(runner, second) == [True, True, True]
    assert sorted(found.unused) == sorted([trees(first)[0], trees(first)[2]])
    assert runner.file(OTHER, "etc/motd") == b"second"


def test_a_squashfs_file_goes_with_its_tree(runner: JobRunner) -> None:
    gone, kept = publish(runner, FIRST), publish(runner, SECOND, OTHER)
    content = runner.repository.sink.put_bytes(b"squashed")
    files = [squashed_path(image.config_digest) for image in (gone, kept)]
    commit(runner, *(PutFile(path, content) for path in files))
    remove(runner)
    prune(runner.services.publishers[FQRN], FQRN, since=LATER)
    snapshot = runner.repository.read()
    assert [snapshot.lookup(path) is not None for path in files] == [False, True]


def test_what_can_be_restored_stays_for_its_grace_time(runner: JobRunner) -> None:
    first = publish(runner, FIRST)
    publish(runner, SECOND)
    answer = ask(runner)
    assert (answer["unused"], answer["forgotten"]) == ([], [])
    assert held(runner, first) == [True, True, True]
    runner.ledger.request(
        runner.reference(NAME), source="operator", order=orders.restore(first.digest)
    )
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
    # It was live again since; the time of its first end does not count.
    publish(runner, SECOND)
    assert held(runner, first) == [True, True, True]


def test_what_was_live_too_long_ago_is_forgotten_with_its_trees(
    runner: JobRunner,
) -> None:
    first = publish(runner, FIRST)
    publish(runner, SECOND)
    prune(runner.services.publishers[FQRN], FQRN, since=LATER)
    reference = Reference.parse(runner.reference(NAME))
    assert runner.repository.read().lookup(former_path(reference, first.digest)) is None
    assert held(runner, first) == [False, True, False]
    assert runner.file(NAME, "etc/motd") == b"second"


def test_nothing_goes_in_a_dry_run(runner: JobRunner) -> None:
    first = publish(runner, FIRST)
    remove(runner)
    revision = runner.revision
    answer = ask(runner, "--dry-run", "--grace", "0s")
    assert runner.revision == revision
    assert {path.encode() for path in answer["unused"]} == set(trees(first))
    assert all(held(runner, first))


def test_pruning_again_changes_nothing(runner: JobRunner) -> None:
    publish(runner, FIRST)
    remove(runner)
    prune(runner.services.publishers[FQRN], FQRN, since=LATER)
    revision = runner.revision
    assert prune(runner.services.publishers[FQRN], FQRN, since=LATER)[1] == revision


def test_trees_of_all_platforms_are_in_use(runner: JobRunner) -> None:
    runner.allow(platforms="[linux/amd64, linux/arm64]")
    images = [
        build_image([tar_of({"cpu": platform.encode()})], platform=platform)
        for platform in ("linux/amd64", "linux/arm64")
    ]
    runner.registry.push_index("atlas/analysis", "v1", images)
    runner.publish(NAME)
    assert prune(runner.services.publishers[FQRN], FQRN, since=LATER)[0].unused == ()


def test_a_link_that_somebody_else_made_counts(runner: JobRunner) -> None:
    first = publish(runner, FIRST)
    for path, target in (
        (b"/stable/image", b".." + trees(first)[0] + b"/etc"),
        (b"/stable/layer", b"/cvmfs/" + FQRN.encode() + trees(first)[2]),
    ):
        commit(runner, PutLink(path, target))
    remove(runner)
    prune(runner.services.publishers[FQRN], FQRN, since=LATER)
    assert held(runner, first) == [True, False, True]


def test_a_tree_of_another_tool_stays(runner: JobRunner) -> None:
    first = publish(runner, FIRST)
    flat = trees(first)[0]
    remove(runner)
    content = runner.repository.sink.put_bytes(b"theirs")
    for path in (b"/.flat/aa/" + b"a" * 64, b"/.layers/bb/" + b"b" * 64):
        commit(runner, PutFile(path + b"/file", content))
    commit(runner, RemovePath(flat + b"/.singularity.d"))
    found, _ = prune(runner.services.publishers[FQRN], FQRN, since=LATER)
    assert found.foreign == 3
    assert held(runner, first) == [True, False, False]


@pytest.mark.parametrize("name", [b"/manifest.json", b"/x:y/manifest.json"])
def test_a_manifest_that_nobody_understands_stops_everything(
    runner: JobRunner, name: bytes
) -> None:
    first = publish(runner, FIRST)
    remove(runner)
    content = runner.repository.sink.put_bytes(b"what is this?")
    commit(runner, PutFile(b"/.metadata/registry.example.org" + name, content))
    with pytest.raises(NotUnderstood, match=r"manifest\.json.*nothing is pruned"):
        prune(runner.services.publishers[FQRN], FQRN, since=LATER)
    assert command(runner).exit_code == 1
    assert all(held(runner, first))


def test_what_is_published_while_it_is_found_out_stays(runner: JobRunner) -> None:
    first = publish(runner, FIRST)
    remove(runner)
    late = [lambda: runner.publish(NAME)]
    publisher = PublisherWithHooks(
        runner.services.publishers[FQRN], before_publish=lambda: late and late.pop()()
    )
    found, _ = prune(publisher, FQRN, since=LATER)
    assert found.unused == ()
    assert all(held(runner, first))
    assert runner.file(NAME, "etc/motd") == b"first"


def test_who_is_always_overtaken_gives_up_and_says_so(runner: JobRunner) -> None:
    first = publish(runner, FIRST)
    remove(runner)
    numbers = iter(range(100))
    publisher = PublisherWithHooks(
        runner.services.publishers[FQRN],
        before_publish=lambda: commit(
            runner, PutLink(b"/link%d" % next(numbers), b"nowhere")
        ),
    )
    with pytest.raises(TooBusy, match="quieter"):
        prune(publisher, FQRN, since=LATER)
    assert all(held(runner, first))


def test_a_job_that_relies_on_what_goes_makes_it_again(runner: JobRunner) -> None:
    first = publish(runner, FIRST)
    remove(runner)
    publisher = runner.services.publishers[FQRN]

    def go() -> None:
        prune(publisher, FQRN, since=LATER)
        runner.replace_publisher(lambda _: publisher)

    runner.replace_publisher(lambda real: PublisherWithHooks(real, before_publish=go))
    runner.want(NAME)
    run = runner.run(NAME)
    assert run.outcome is Outcome.FAILED
    assert "is not there any more" in (run.reason or "")
    assert runner.file(NAME, "etc/motd") is None

    runner.wait_for_next_try(NAME)
    assert runner.run(NAME).outcome is Outcome.PUBLISHED
    assert runner.image(NAME).state is State.LIVE
    assert all(held(runner, first))
    assert runner.file(NAME, "etc/motd") == b"first"


def test_objects_of_what_went_are_deleted_by_the_garbage_collection(
    runner: JobRunner,
) -> None:
    text = b"x" * 100_000
    publish(runner, [tar_of({"big": text})])
    repository = runner.repository
    digest = repository.sink.put_bytes(text).hash
    assert digest is not None
    stored = ContentHash(digest).path(Kind.BULK)
    remove(runner)
    found, _ = prune(runner.services.publishers[FQRN], FQRN, since=LATER)
    assert len(found.unused) == 2
    # The revision before the present one is kept, too.
    commit(runner, PutLink(b"/link", b"nowhere"))
    assert repository.storage.exists(stored)
    later = int(time.time()) + 3600
    storage = repository.storage
    assert isinstance(storage, CollectableStorage)
    collect_garbage(
        FQRN,
        storage,
        repository.keys,
        now=later,
        stored_now=later,
        retention=Retention(1, 0, 0),
        dry_run=False,
        tell=lambda _: None,
        rest=lambda: None,
    )
    assert not storage.exists(stored)
    assert find_unused(runner.repository.read(), FQRN, since=LATER).unused == ()
