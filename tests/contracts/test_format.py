"""What every format keeps, and how little a new one has to touch.

A format is only what jobs, pruning and pages ask it for, so it is tried by running
them: these tests need what ``jobs`` needs.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.harness.jobs import FQRN, JobRunner
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.thin_images import (
    FIRST,
    NAME,
    SECOND,
    is_published,
    open_thin_job_runner,
    push,
    receipt,
    run_order,
    run_push,
)
from tests.support.registries.fake_registry import FakeRegistry
from workers.formats import formats
from workers.formats.catalogs import is_catalog
from workers.formats.format import (
    Building,
    ConfigDigest,
    ConvertedImage,
    Format,
    ImageBounds,
    Use,
)
from workers.formats.receipt import Receipt
from workers.images.manifest import ImageManifest
from workers.images.platforms import Platform
from workers.images.resolved import ResolvedImage
from workers.ledger import Outcome, orders
from workers.policy import ImageLimits, PolicyError, parse_policy
from workers.published.unused import find_unused, prune
from workers.publishing.plan import ContentAt
from workers.publishing.publisher import PublishedTree
from workers.reference import Reference
from workers.run.resolving import fetch_images, resolve_digest

LATER = 4_000_000_000.0
SHELF = b"/.toy"


class Toy(Format):
    """One small file for each image."""

    name = "toy"
    shelf = SHELF

    def missing(
        self, image: ResolvedImage, tree: PublishedTree, limits: ImageBounds
    ) -> Iterable[str]:
        digest = image.manifest.config.digest
        return [] if tree.lookup(toy_path(digest)) is not None else [digest]

    def relies_on(self, manifest: ImageManifest) -> Iterable[bytes]:
        return [toy_path(manifest.config.digest)]

    def is_ours(self, tree: PublishedTree, path: bytes) -> bool:
        return True

    def build(
        self, converted: ConvertedImage, building: Building
    ) -> Iterator[ContentAt]:
        content = building.sink.put_bytes(b"%d layers" % len(converted.layers))
        yield ContentAt(toy_path(converted.image.manifest.config.digest), content)

    def shown(
        self, reference: Reference, receipt: Receipt, config_digest: ConfigDigest
    ) -> str | None:
        digest = config_digest()
        return None if digest is None else toy_path(digest).decode()

    def uses(self, place: str, *, is_alone: bool) -> Iterator[Use]:
        yield Use("toy", "To play with", place, "Path of the toy")


def toy_path(config_digest: str) -> bytes:
    encoded = config_digest.partition(":")[2].encode()
    return b"%s/%s/%s" % (SHELF, encoded[:2], encoded)


@pytest.fixture
def target() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def runner(
    redis_server: RedisServer, tmp_path: Path, target: FakeRegistry
) -> Iterator[JobRunner]:
    with open_thin_job_runner(redis_server, tmp_path, target.host) as opened:
        yield opened


@pytest.fixture(params=[each.name for each in formats.FORMATS])
def form(request: pytest.FixtureRequest) -> Format:
    """Give each format in turn."""
    [found] = formats.formats_named([request.param])
    if lacking := found.lacking():
        pytest.skip(lacking)
    return found


def allow(runner: JobRunner, *names: str) -> None:
    runner.allow(formats=f"[{', '.join(names)}]")


def resolved(runner: JobRunner) -> Sequence[ResolvedImage]:
    client, name = runner.services.registry, Reference.parse(runner.reference(NAME))
    found = resolve_digest(client, name, None, lambda: None)
    images, _ = fetch_images(client, name, found, [Platform("linux", "amd64")])
    return images


def published(runner: JobRunner) -> PublishedTree:
    return runner.services.publishers[FQRN].published()


def missing(runner: JobRunner, form: Format) -> list[str]:
    names = formats.with_parts([form.name])
    return formats.missing(resolved(runner), published(runner), names, ImageLimits())


def test_names_are_different_and_parts_come_before_what_is_made_of_them() -> None:
    names: list[str] = []
    for each in formats.FORMATS:
        assert each.name not in names
        assert set(each.parts) <= set(names)
        names.append(each.name)
    assert set(formats.DEFAULT_FORMATS) <= set(names)


def test_the_policy_knows_a_format_by_its_name_and_adds_its_parts(form: Format) -> None:
    policy = parse_policy(
        f"version: 1\nrules: [{{allow: a.b/c, formats: [{form.name}]}}]\n"
    )
    assert set(policy.rules[0].formats) == {form.name, *form.parts}


def test_its_shelf_and_the_folders_on_it_are_catalogs(form: Format) -> None:
    if form.shelf:
        assert is_catalog(form.shelf)
        assert is_catalog(form.shelf + b"/0f")
        assert not is_catalog(form.shelf + b"/0f/0f12")


def test_people_are_told_how_to_use_what_is_published(form: Format) -> None:
    places = {form.name: "/cvmfs/place"}
    assert [use for use in formats.uses(places) if "/cvmfs/place" in use.text]


def test_what_is_published_is_there_and_complete(
    runner: JobRunner, form: Format
) -> None:
    push(runner, FIRST)
    allow(runner, form.name)
    before = missing(runner, form)
    record = runner.publish(NAME)
    tree, images = published(runner), resolved(runner)
    assert before
    assert missing(runner, form) == []
    names = formats.with_parts([form.name])
    assert all(tree.lookup(path) for path in formats.relied_on(images, names))
    assert set(record.places) == set(names) == set(receipt(runner).formats)
    for place in record.places.values():
        assert not place.startswith("/") or tree.lookup(place.encode()) is not None


def test_a_second_push_makes_nothing(runner: JobRunner, form: Format) -> None:
    push(runner, FIRST)
    allow(runner, form.name)
    runner.publish(NAME)
    revision, asked = runner.revision, len(runner.registry.seen("GET", "/blobs/"))
    assert run_push(runner).outcome is Outcome.UNCHANGED
    assert runner.revision == revision
    assert len(runner.registry.seen("GET", "/blobs/")) == asked


def test_what_its_rule_has_no_more_is_shown_no_more(
    runner: JobRunner, form: Format, target: FakeRegistry
) -> None:
    push(runner, FIRST)
    other = "layers" if form.name != "layers" else "flat"
    allow(runner, form.name, other)
    runner.publish(NAME)
    allow(runner, other)
    assert form.name not in runner.publish(NAME).places
    assert form.name not in receipt(runner).formats
    assert not target.tags_of("thin/atlas/analysis")


def test_a_removed_name_leads_nowhere(
    runner: JobRunner, form: Format, target: FakeRegistry
) -> None:
    push(runner, FIRST)
    allow(runner, form.name)
    runner.publish(NAME)
    assert run_order(runner, orders.REMOVE).outcome is Outcome.REMOVED
    assert not is_published(runner)
    assert not target.tags_of("thin/atlas/analysis")
    # And comes back from what is there still.
    asked = len(runner.registry.seen("GET", "/blobs/sha256:"))
    assert run_push(runner).outcome is Outcome.PUBLISHED
    proven = any(
        each.proves_layers
        for each in formats.formats_named(formats.with_parts([form.name]))
    )
    assert not proven or len(runner.registry.seen("GET", "/blobs/sha256:")) == asked + 1


def test_what_is_live_is_never_unused_and_what_nobody_uses_goes(
    runner: JobRunner, form: Format
) -> None:
    push(runner, FIRST)
    allow(runner, form.name)
    runner.publish(NAME)
    assert find_unused(published(runner), FQRN, since=LATER).unused == ()
    push(runner, SECOND)
    runner.publish(NAME)
    publisher = runner.services.publishers[FQRN]
    found, _ = prune(publisher, FQRN, since=LATER)
    # The store of podman finds an image by its digest for ever.
    assert found.unused or form.name == "podman"
    assert missing(runner, form) == []
    assert find_unused(published(runner), FQRN, since=LATER).unused == ()


def test_a_new_format_is_its_file_and_its_place_in_the_tuple(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything else takes it from there: policy, jobs, receipts, pruning, pages."""
    policy = "version: 1\nrules: [{allow: a.b/c, formats: [toy]}]\n"
    with pytest.raises(PolicyError, match="must be one of"):
        parse_policy(policy)
    with monkeypatch.context() as patch:
        patch.setattr(formats, "FORMATS", (*formats.FORMATS, Toy()))
        assert parse_policy(policy).rules[0].formats == ("toy",)
        image = push(runner, SECOND)
        allow(runner, "toy")
        record = runner.publish(NAME)
        path = toy_path(image.config_digest)
        entry = published(runner).lookup(path)
        assert entry is not None
        assert published(runner).read(entry) == b"2 layers"
        assert record.places == {"toy": path.decode()}
        assert [use.key for use in formats.uses(record.places)] == ["toy"]
        assert receipt(runner).formats == ("toy",)
        # Another image of the same name: the first toy is nobody's any more.
        push(runner, FIRST)
        runner.publish(NAME)
        found, _ = prune(runner.services.publishers[FQRN], FQRN, since=LATER)
        assert found.unused == (path,)
    # Without it, the next look publishes what the rule has then.
    allow(runner, "flat")
    assert set(runner.publish(NAME).places) == {"flat"}
    with pytest.raises(PolicyError, match="must be one of"):
        parse_policy(policy)
