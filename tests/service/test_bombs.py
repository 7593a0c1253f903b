"""Whatever an image or a registry tries ends in small memory, and with a reason.

The table of all attempts at the bounds of a worker. Each goes through the product's job
in a real worker; its row says how it ends. What the process of the run took is what the
kernel says that it was at its highest.
"""

import gzip
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from isal import igzip

from tests.support.harness.job_workers import JobWorkers
from tests.support.harness.jobs import JobRunner, open_job_runner
from tests.support.harness.redis_server import RedisServer
from tests.support.images import tars
from tests.support.images.oci import (
    GZIP_LAYER_TYPE,
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


def of_blob(make: Callable[[], bytes], *, is_read: bool) -> Put:
    """Put an image of one layer; its diff id is right if it is read to its end."""

    def put(registry: FakeRegistry, name: str) -> None:
        blob = make()
        diff_id = digest_of(gzip.decompress(blob) if is_read else b"")
        registry.push_image(name, TAG, [Layer(blob, GZIP_LAYER_TYPE["oci"], diff_id)])

    return put


# Blobs by name, with words of the reason, or None where they are read like any other.
LAYERS: Mapping[str, tuple[Callable[[], bytes], str | None]] = {
    "a hole of 1 EiB": (
        lambda: igzip.compress(tars.tar(tars.pax_sparse(b"hole", 1 << 60, [], "1.0"))),
        "larger than",
    ),
    "empty gzip members": (
        lambda: igzip.compress(tar_of({"a": b""})) + igzip.compress(b"") * 200_000,
        None,
    ),
}


ATTEMPTS: Mapping[str, Attempt] = {
    # Layers, by the rules' usual limits.
    **{
        f"layer-{name.replace(' ', '-').lower()}": Attempt(
            of_blob(make, is_read=words is None),
            words or "",
            Outcome.PUBLISHED if words is None else Outcome.FAILED,
        )
        for name, (make, words) in LAYERS.items()
    },
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
    "deep-json": Attempt(deep_json, "the manifest is not JSON"),
    "large-manifest": Attempt(large_manifest, "more than"),
    # A registry that lets one wait; a second look may find it mended.
    **{
        f"registry-{name}": Attempt(put, words, is_tried_again=True)
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
    "registry-redirects": Attempt(
        spoiled(lambda to, at: to.redirect(f"{at}man", to.url, method="HEAD")),
        "redirects more than 5 times",
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


@contextmanager
def _attempted(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[JobWorkers]:
    folder = tmp_path_factory.mktemp("bombs")
    with open_job_runner(redis_server, folder) as runner:
        _allow(runner)
        # Before anybody is in a hurry: this takes all of the registry's time.
        for name, attempt in ATTEMPTS.items():
            attempt.put(runner.registry, f"{name}/image")
        with JobWorkers(runner, 6, is_hurried=True) as workers:
            for name in ATTEMPTS:
                workers.want(f"{name}/image:{TAG}")
            yield workers


def _allow(runner: JobRunner) -> None:
    host = runner.registry.host
    runner.write_policy(f"""\
version: 1
rules:
  - allow: "{host}/layer-*/image"
  - allow: "{host}/**"
    limits: {{size: 1MB, files: 10000}}
""")


@pytest.fixture(scope="module")
def workers(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[JobWorkers]:
    """Make all attempts at once; the tests then wait for their ends."""
    with _attempted(redis_server, tmp_path_factory) as made:
        yield made


@pytest.mark.parametrize("name", ATTEMPTS)
def test_an_attempt_ends_as_its_row_says(workers: JobWorkers, name: str) -> None:
    attempt = ATTEMPTS[name]
    reference = f"{name}/image:{TAG}"
    run = workers.wait_for_run(reference)
    assert run.outcome is attempt.outcome, run.reason
    assert attempt.words in (run.reason or "")
    assert (run.next_try is not None) == attempt.is_tried_again, run.reason
    peak_mib = workers.peak_mib(reference)
    assert peak_mib <= attempt.mib, f"{peak_mib} MiB: {run.reason}"
