"""Whatever an image or a registry tries ends in small memory, and with a reason.

The table of all attempts at the bounds of a worker. Each goes through the product's job
in a real worker; its row says how it ends. What the process of the run took is what the
kernel says that it was at its highest.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import zstandard
from isal import igzip

from tests.support.harness.job_workers import JobWorkers
from tests.support.harness.jobs import JobRunner, open_job_runner
from tests.support.harness.redis_server import RedisServer
from tests.support.images import tars, zstd_by_hand
from tests.support.images.bombs import BOMBS
from tests.support.images.oci import (
    GZIP_LAYER_TYPE,
    ZSTD_LAYER_TYPE,
    Layer,
    build_image,
    digest_of,
    gzip_layer,
    tar_of,
)
from tests.support.registries.fake_registry import FakeRegistry
from workers.ledger import Outcome

# 300 MB, whatever is tried.
PROMISED_MIB = 286
# Where that is not kept by anything else, the kernel keeps this, and stacks on top.
SECOND_LINE_MIB = 512 + 18 * 8
TAG = "v1"
GIB = 1 << 30
# Seconds before each byte of what drips; in time for a socket, each for itself.
PAUSE = 0.05

Put = Callable[[FakeRegistry, str], object]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt and its end.

    Attributes:
        put: makes it, with a registry and the name of a repository.
        words: of the reason.
        outcome: of the only run, unless it is tried again.
        is_tried_again: as it is the registry's trouble, and no image's.
        mib: of memory that the run may take.
    """

    put: Put
    words: str
    outcome: Outcome = Outcome.FAILED
    is_tried_again: bool = False
    mib: int = PROMISED_MIB


def image(*layers: bytes | Layer) -> Put:
    return lambda registry, name: registry.push_image(name, TAG, layers)


def small(registry: FakeRegistry, name: str) -> None:
    """Put an image whose layer no other has."""
    registry.push_image(name, TAG, [tar_of({"name": name.encode() * 99})])


def deep_json(registry: FakeRegistry, name: str) -> None:
    made = build_image([tar_of({"a": b""})])
    depth = 100_000
    raw = (
        b'{"schemaVersion": 2, "annotations": ' + b'{"a":' * depth + b"1" + b"}" * depth
    )
    registry.push_manifest(name, TAG, raw + b"}", made.media_type)


def large_manifest(registry: FakeRegistry, name: str) -> None:
    made = build_image([tar_of({"a": b""})])
    raw = made.manifest[:-1] + b" " * (64 << 20) + b"}"
    registry.push_manifest(name, TAG, raw, made.media_type)


def spoiled(spoil: Callable[[FakeRegistry, str], object]) -> Put:
    """Put a good image, and spoil what its registry sends of it."""

    def put(registry: FakeRegistry, name: str) -> None:
        small(registry, name)
        spoil(registry, f"/{name}/")

    return put


def spoiled_token(registry: FakeRegistry, name: str) -> None:
    small(registry, name)
    registry.make_private(name)
    registry.drip_head("GET", f"/token.*{name.replace('/', '%2F')}", pause=PAUSE)


LATE = "does not answer in time"
NEXT_TO_NOTHING = "sends next to nothing"
OUT_OF_MEMORY = "needed more than 512 MiB of memory"


def of_blob(make: Callable[[], bytes]) -> Put:
    """Put an image of one layer, whose diff id is right."""

    def put(registry: FakeRegistry, name: str) -> None:
        blob = make()
        layer = Layer(blob, GZIP_LAYER_TYPE["oci"], _diff_id(blob))
        registry.push_image(name, TAG, [layer])

    return put


def _diff_id(blob: bytes) -> str:
    if blob.startswith(b"\x1f\x8b"):
        # The standard library takes 25 s for many members.
        plain = igzip.decompress(blob)  # type: ignore[no-untyped-call] # isal's
        return digest_of(plain)
    unzstd = zstandard.ZstdDecompressor(max_window_size=1 << 28)
    with unzstd.stream_reader(blob, read_across_frames=True) as reader:
        return digest_of(reader.read())


def three_windows(registry: FakeRegistry, name: str) -> None:
    """Put three layers that each need a window of 128 MiB to be read."""
    made = []
    for zeros in (160, 161, 162):
        plain = tars.tar(tars.file(b"zeros", bytes(zeros << 20)))
        blob = zstd_by_hand.frame(plain, 27)
        made.append(Layer(blob, ZSTD_LAYER_TYPE, digest_of(plain)))
    registry.push_image(name, TAG, made)


ATTEMPTS: Mapping[str, Attempt] = {
    # Layers, each against a limit of ours.
    **{
        f"layer-{name.replace(' ', '-').lower()}": Attempt(
            of_blob(make),
            words or "",
            Outcome.PUBLISHED if words is None else Outcome.FAILED,
        )
        for name, (make, words) in BOMBS.items()
    },
    "layer-three-zstd-windows": Attempt(three_windows, "", Outcome.PUBLISHED),
    # Layers, each against a limit of its rule.
    "zeros": Attempt(
        image(gzip_layer(tar_of({"zeros": bytes(64 << 20)}))), "larger than 1000000"
    ),
    "zeros-behind-the-end": Attempt(
        image(gzip_layer(tar_of({"a": b""}) + bytes(128 << 20))), "unpack to far more"
    ),
    "hole": Attempt(
        image(tars.tar(tars.pax_sparse(b"hole", 19 * GIB, [], "1.0"))),
        "larger than 1000000",
    ),
    "files": Attempt(
        image(gzip_layer(tar_of({f"{n}": b"" for n in range(20_000)}))),
        "more than 10000 files",
    ),
    "layers": Attempt(
        image(*(tar_of({f"{n}": b""}) for n in range(200))), "200 layers"
    ),
    # What else of an image is read.
    "deep-json": Attempt(deep_json, "the manifest is JSON that is nested too deeply"),
    "large-manifest": Attempt(large_manifest, "more than"),
    # A registry that lets one wait; a second look may find it mended.
    **{
        f"slow-registry-{name}": Attempt(put, words, is_tried_again=True)
        for name, put, words in (
            (
                "headers-of-head",
                spoiled(lambda to, at: to.drip_head("HEAD", f"{at}man", pause=PAUSE)),
                LATE,
            ),
            (
                "headers-of-manifest",
                spoiled(lambda to, at: to.drip_head("GET", f"{at}man", pause=PAUSE)),
                LATE,
            ),
            (
                "headers-of-blob",
                spoiled(lambda to, at: to.drip_head("GET", f"{at}blobs", pause=PAUSE)),
                LATE,
            ),
            ("headers-of-token", spoiled_token, LATE),
            (
                "chunks-of-manifest",
                spoiled(lambda to, at: to.drip_chunk_lines(f"{at}man", pause=PAUSE)),
                LATE,
            ),
            (
                "chunks-of-blob",
                spoiled(lambda to, at: to.drip_chunk_lines(f"{at}blobs", pause=PAUSE)),
                LATE,
            ),
            (
                "body-of-manifest",
                spoiled(lambda to, at: to.drip(f"{at}man", block=1, pause=PAUSE)),
                "takes longer than",
            ),
            (
                "body-of-blob",
                spoiled(lambda to, at: to.drip(f"{at}blobs", block=1, pause=PAUSE)),
                NEXT_TO_NOTHING,
            ),
            (
                "silence",
                spoiled(lambda to, at: to.hang("HEAD", f"{at}man")),
                LATE,
            ),
        )
    },
    "slow-registry-redirects": Attempt(
        spoiled(lambda to, at: to.redirect(f"{at}man", to.url, method="HEAD")),
        "redirects more than 5 times",
        is_tried_again=True,
    ),
    # What nothing counts: memory, taken as ``job_workers.PLACES`` says by these names.
    **{
        name: Attempt(small, OUT_OF_MEMORY, mib=SECOND_LINE_MIB)
        for name in (
            "hungry",
            "hungry-in-zstd",
            "hungry-for-threads",
            "hungry-and-careless",
        )
    },
}


class Site(NamedTuple):
    """A registry, and workers that publish what it has."""

    runner: JobRunner
    workers: JobWorkers


@pytest.fixture(scope="module")
def site(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("bombs")
    with open_job_runner(redis_server, folder) as runner:
        _allow(runner)
        with JobWorkers(runner, 1) as workers:
            yield Site(runner, workers)


def _allow(runner: JobRunner) -> None:
    host = runner.registry.host
    runner.write_policy(f"""\
version: 1
rules:
  - allow: "{host}/layer-*/image"
    limits: {{files: 400000}}
  - allow: "{host}/**"
    limits: {{size: 1MB, files: 10000}}
""")


@pytest.mark.parametrize("name", ATTEMPTS)
def test_an_attempt_ends_as_its_row_says(site: Site, name: str) -> None:
    attempt = ATTEMPTS[name]
    reference = f"{name}/image:{TAG}"
    attempt.put(site.runner.registry, f"{name}/image")
    site.workers.want(reference)
    run = site.workers.wait_for_run(reference)
    assert run.outcome is attempt.outcome, run.reason
    assert attempt.words in (run.reason or "")
    assert (run.next_try is not None) == attempt.is_tried_again, run.reason
    peak_mib = site.workers.peak_mib(reference)
    assert peak_mib <= attempt.mib, f"{peak_mib} MiB: {run.reason}"
