"""What users wait for: from the push until a mounted client sees the image.

And what the stock tools take for the same image, where they are at hand.
"""

import gzip
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.bench.images import bench_image
from tests.bench.report import Figure, Settings, median
from tests.support.harness.service import ServiceProcess
from tests.support.images.oci import build_image, tar_of, write_layout
from tests.support.registries.distribution import distribution_registry
from tests.support.tools.cvmfs_client import mounted
from tests.support.tools.cvmfs_server import stock_server
from tests.support.tools.programs import free_port, require_program
from tests.support.tools.skopeo import skopeo_copy
from webhook.machine.first_start import FQRN
from workers.cvmfs.storage.storage import MANIFEST

_TTL_SECONDS = 5
_PUSHES = 8
_STOCK = "stock.example.org"
_DEADLINE_SECONDS = 120.0


def measure(settings: Settings) -> Iterator[Figure]:
    """Push small images to a running service with a client mounted."""
    require_program("cvmfs2")
    yield from _visible(settings)
    if not settings.is_quick:  # the hard cases of the smaller image make ingest abort
        yield from _ingest(settings)


def _visible(settings: Settings) -> Iterator[Figure]:
    """Measure from the end of each push: when it is signed, and when it is seen."""
    folder = settings.folder / "visible"
    port = free_port()
    registry = f"127.0.0.1:{port}"
    service = ServiceProcess(folder / "service", registry=registry, ttl=_TTL_SECONDS)
    signed, seen = [], []
    with ExitStack() as stack:
        stack.enter_context(service)
        stack.enter_context(
            distribution_registry(
                folder / "registry", endpoints=[service.endpoint], port=port
            )
        )
        service.allow(f"{registry}/**")
        url = f"{service.url}/cvmfs/@fqrn@"
        client = mounted(folder / "client", FQRN, url, service.key)
        mountpoint = stack.enter_context(client)
        for number in range(2 if settings.is_quick else _PUSHES):
            name = f"{registry}/bench/small:{number}"
            image = build_image([tar_of({"number": b"%d" % number})])
            write_layout(folder / f"image-{number}", "v1", image)
            skopeo_copy(f"oci:{folder}/image-{number}:v1", f"docker://{name}")
            pushed = time.time()
            _wait_for(mountpoint / name)
            seen.append(time.time() - pushed)
            published = (service.storage / MANIFEST).stat().st_mtime
            signed.append(max(published - pushed, 0.0))
    yield Figure(
        "a small image: end of the push to signed manifest",
        median(signed),
        "s",
        samples=tuple(signed),
    )
    yield Figure(
        f"  until a mounted client sees it, ttl {_TTL_SECONDS} s",
        median(seen),
        "s",
        median(seen) / _TTL_SECONDS,
        "the ttl",
        samples=tuple(seen),
    )


def _ingest(settings: Settings) -> Iterator[Figure]:
    """Let ``cvmfs_server ingest`` take the layers; inflating them is not counted."""
    image = bench_image(is_quick=False)
    seconds = 0.0
    with stock_server(settings.folder / "stock") as stock:
        stock.mkfs(_STOCK)
        for number, layer in enumerate(image.layers):
            tar = stock.folder / "srv" / "layer.tar"
            _inflate(layer, tar)
            os.sync()
            began = time.perf_counter()
            into = f"layers/{number}"
            stock.server("ingest", "-c", "-t", "/srv/layer.tar", "-b", into, _STOCK)
            seconds += time.perf_counter() - began
    yield Figure("cvmfs_server ingest of the same layers, without flat", seconds, "s")


def _inflate(layer: Path, tar: Path) -> None:
    with gzip.open(layer) as source, tar.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not os.path.lexists(path):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in time: {path}")
        time.sleep(0.02)
