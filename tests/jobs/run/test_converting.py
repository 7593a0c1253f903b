"""From the layers of an image to the trees to publish."""

import dataclasses
import gzip
import signal
from collections.abc import Sequence
from types import FrameType

import pytest

from tests.support.harness.jobs import FQRN, JobRunner
from tests.support.images import tars
from tests.support.images.oci import (
    GZIP_LAYER_TYPE,
    Layer,
    digest_of,
    gzip_layer,
    plain_layer,
    tar_of,
    zstd_layer,
)
from workers.formats.format import Building
from workers.formats.formats import formats_named
from workers.formats.paths import flat_path, layer_path
from workers.images.platforms import Platform
from workers.images.rejected import ImageRejected
from workers.ledger import Progress
from workers.policy import ImageLimits
from workers.publishing.plan import TreeAt
from workers.reference import Reference
from workers.registry import AccessDenied, DigestMismatch, RegistryUnavailable
from workers.run.converting import Shelf, convert, no_layers
from workers.run.heartbeat import Overtaken
from workers.run.resolving import fetch_images, resolve_digest

NAME = "atlas/analysis:v1"
NOISE = bytes(range(256)) * 40_000
LARGE = plain_layer(tar_of({"noise": NOISE}))
SMALL = gzip_layer(tar_of({"small": b"small"}))
BROKEN = Layer(b"\x1f\x8b broken", GZIP_LAYER_TYPE["oci"], digest_of(b""))


class Told:
    """Keeps what is told, and may raise."""

    def __init__(self, error: type[Exception] | None = None, after: int = 0) -> None:
        self.progress: list[Progress] = []
        self._error = error
        self._after = after

    def __call__(self, progress: Progress) -> None:
        self.progress.append(progress)
        if self._error is not None and len(self.progress) > self._after:
            raise self._error


def converted(
    runner: JobRunner,
    layers: Sequence[Layer],
    told: Told | None = None,
    *,
    limits: ImageLimits | None = None,
) -> list[TreeAt]:
    """Convert an image of these layers, and build it; nothing is published."""
    runner.registry.push_image("atlas/analysis", "v1", layers)
    client = runner.services.registry
    reference = Reference.parse(runner.reference(NAME))
    found = resolve_digest(client, reference, None, lambda: None)
    [image], _ = fetch_images(client, reference, found, [Platform("linux", "amd64")])
    rule = runner.services.policy.current().decide(reference).rule
    assert rule is not None
    sink, limits = runner.services.publishers[FQRN].sink, limits or rule.limits
    whole = convert(client, image, sink, Shelf(no_layers), limits, told or Told())
    published = runner.services.publishers[FQRN].published()
    building = Building(sink, published, runner.services.config.state)
    return [
        step
        for each in formats_named(rule.formats)
        for step in each.build(whole, building)
        if isinstance(step, TreeAt)
    ]


def drip(runner: JobRunner, layer: Layer) -> None:
    """Let a layer come so slowly that nobody could wait for its end."""
    pattern = f"/blobs/{digest_of(layer.blob)}"
    runner.registry.drip(pattern, block=70_000, pause=0.1)


def test_each_layer_and_the_whole_become_trees(runner: JobRunner) -> None:
    trees = converted(runner, [LARGE, SMALL])
    paths = [tree.path for tree in trees]
    assert paths[:2] == [layer_path(digest_of(one.blob)) for one in (LARGE, SMALL)]
    whole = trees[2].tree.directories[b""]
    assert {b"noise", b"small", b".singularity.d"} <= whole.keys()
    assert trees[2].path.startswith(flat_path("sha256:")[:6])


def test_an_image_of_many_entries_becomes_the_same_trees(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = converted(runner, [LARGE, SMALL])
    monkeypatch.setattr("workers.images.layers.budget.USUAL_FILES", 0)
    large = converted(runner, [LARGE, SMALL])
    assert [(one.path, one.tree) for one in large] == [
        (one.path, one.tree) for one in usual
    ]


def test_a_layer_of_many_entries_becomes_the_same_tree(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = gzip_layer(tar_of({f"d{n % 7}/f{n}": b"%d" % n for n in range(300)}))
    usual = converted(runner, [many])
    monkeypatch.setattr("workers.images.layers.budget.USUAL_FILES", 50)
    monkeypatch.setattr("workers.images.layers.read._FEW_LOOSE", 10)
    monkeypatch.setattr("workers.images.layers.read._MEMBERS_WAITING", 5)
    large = converted(runner, [many])
    assert [(one.path, one.tree) for one in large] == [
        (one.path, one.tree) for one in usual
    ]


def test_a_layer_that_is_there_twice_is_there_once(runner: JobRunner) -> None:
    trees = converted(runner, [SMALL, SMALL])
    assert len(trees) == 2


def test_progress_grows_and_ends_with_everything(runner: JobRunner) -> None:
    told = Told()
    converted(runner, [LARGE, SMALL, LARGE], told)
    size = 2 * len(LARGE.blob) + len(SMALL.blob)
    assert told.progress[-1] == Progress(3, 3, size, size)
    assert told.progress == sorted(
        told.progress, key=lambda one: (one.bytes_done, one.layers_done)
    )


@pytest.mark.parametrize("after", [0, 3])
def test_what_telling_raises_ends_the_conversion(runner: JobRunner, after: int) -> None:
    drip(runner, LARGE)
    with pytest.raises(Overtaken):
        converted(runner, [LARGE, SMALL, LARGE], Told(Overtaken, after))


def test_a_layer_that_fails_stops_the_others(runner: JobRunner) -> None:
    drip(runner, LARGE)
    with pytest.raises(ImageRejected, match="layer 2"):
        converted(runner, [LARGE, BROKEN, LARGE])


def test_whoever_is_interrupted_stops_the_layers(runner: JobRunner) -> None:
    """RQ ends a job that takes too long by raising in its main thread."""

    class TimeIsOver(Exception):
        pass

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise TimeIsOver

    drip(runner, LARGE)
    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(TimeIsOver):
            converted(runner, [LARGE, LARGE])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_too_many_layers_are_refused_before_any_is_fetched(runner: JobRunner) -> None:
    with pytest.raises(ImageRejected, match="has 3 layers, its rule allows 2"):
        converted(runner, [SMALL] * 3, limits=ImageLimits(layers=2))
    assert not runner.registry.seen("GET", digest_of(SMALL.blob))


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (ImageLimits(files=1), "layer 1 .* more than 1 files"),
        (ImageLimits(size_bytes=100), "layer 1 .* larger than 100 bytes"),
    ],
)
def test_limits_are_kept(runner: JobRunner, limits: ImageLimits, words: str) -> None:
    layer = gzip_layer(tar_of({"a": b"a" * 60, "b": b"b" * 60}))
    with pytest.raises(ImageRejected, match=words):
        converted(runner, [layer], limits=limits)


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (b"\x1f\x8b broken", "gzip: the layer is (cut short|corrupt)"),
        (gzip.compress(b"no tar" * 99, mtime=0), "tar: "),
        (gzip.compress(tar_of({"a": b"a"})[:512], mtime=0), "ends in the middle"),
        (b"BZh91AY&SY", "bzip2"),
    ],
)
def test_a_damaged_layer_is_named_with_the_mend(
    runner: JobRunner, blob: bytes, words: str
) -> None:
    layer = Layer(blob, GZIP_LAYER_TYPE["oci"], digest_of(b""))
    named = rf"layer 2 \({digest_of(blob)[:19]}…\): .*{words}.*build the image again"
    with pytest.raises(ImageRejected, match=named):
        converted(runner, [SMALL, layer])


def test_a_layer_with_a_bad_name_is_named(runner: JobRunner) -> None:
    empty = gzip_layer(tars.tar(tars.whiteout(b"x/..")))
    with pytest.raises(ImageRejected, match=r"layer 2 .*'\.wh\.\.\.'$"):
        converted(runner, [SMALL, empty])


def test_a_layer_that_is_not_what_its_config_says_is_refused(runner: JobRunner) -> None:
    other = dataclasses.replace(SMALL, diff_id=digest_of(b"other"))
    with pytest.raises(ImageRejected, match=rf"layer 1 unpacks to {SMALL.diff_id}"):
        converted(runner, [other])


def test_a_zstd_layer_that_is_not_what_its_config_says_is_told_what_helps(
    runner: JobRunner,
) -> None:
    """Podman 4 hashed more padding than it wrote: containers/storage, issue 1771."""
    tar = tar_of({"motd": b"hello"})
    chunked = dataclasses.replace(zstd_layer(tar), diff_id=digest_of(tar + bytes(7168)))
    helps = "push it with gzip or zstd, or a newer podman"
    with pytest.raises(ImageRejected, match=f"layer 1 unpacks to .*{helps}"):
        converted(runner, [chunked])


def test_what_the_registry_answers_is_not_the_images_fault(runner: JobRunner) -> None:
    place = f"/blobs/{digest_of(SMALL.blob)}"
    for status, error in ((403, AccessDenied), (503, RegistryUnavailable)):
        # Longer than a blob is waited for.
        headers = {"Retry-After": "60"} if status == 503 else {}
        runner.registry.fail("GET", place, status=status, headers=headers)
        with pytest.raises(error):
            converted(runner, [SMALL])
        runner.registry.mend()


def test_a_blob_is_verified_to_its_last_byte(runner: JobRunner) -> None:
    """What lies behind the end of the archive counts too."""
    layer = plain_layer(tar_of({"a": b"a"}) + bytes(100_000))
    runner.registry.corrupt(f"/blobs/{digest_of(layer.blob)}")
    with pytest.raises(DigestMismatch):
        converted(runner, [layer])
