"""From the start of a job to the signed manifest, cold and incremental."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.images import SMALL_PACKAGES, bench_image, small_layer
from tests.bench.lower_bound import Floor, measure_floor
from tests.bench.publishing_site import Run, Site, open_site
from tests.bench.report import Figure, Settings, median

_FLOOR = "the floor"
_COLD_REACH, _INCREMENTAL_REACH, _MEMORY_REACH = 1.5, 1.0, 300.0


def measure(settings: Settings) -> Iterator[Figure]:
    """Publish the image into an empty repository; then one that shares its layers.

    Floor and publication take turns, so that whatever else the machine does meets
    both.
    """
    image = bench_image(is_quick=settings.is_quick)
    floors: list[Floor] = []
    cold: list[Run] = []
    here: list[Run] = []
    with open_site(settings.folder / "publishing") as site:
        for number in range(1 if settings.is_quick else 3):
            reference = site.push(image, f"cold-{number}")
            floors.append(measure_floor(image.layers))
            site.empty_repository()
            cold.append(site.run_in_horse(reference))
            if number == 0:
                site.empty_repository()
                here.append(site.run_here(site.push(image, "here")))
        floors.append(measure_floor(image.layers))
        unchanged = [site.run_in_horse(reference) for _ in range(3)]
        incremental = _incremental(site, settings)
        disk = _disk_seconds(settings.folder, site)
    yield from _figures(floors, cold, here)
    floor = median([one.seconds for one in floors])
    seconds = [run.seconds for run in unchanged]
    yield Figure(
        "unchanged image, in a horse",
        median(seconds),
        "s",
        median(seconds) / floor,
        _FLOOR,
        samples=tuple(seconds),
    )
    seconds = [run.seconds for run in incremental]
    yield Figure(
        "one small layer more, in a horse",
        median(seconds),
        "s",
        median(seconds) / floor,
        _FLOOR,
        f"<= {_INCREMENTAL_REACH} s",
        median(seconds) <= _INCREMENTAL_REACH,
        tuple(seconds),
        {"stages": [run.stages for run in incremental]},
    )
    peak = max(run.peak_mb for run in [*cold, *incremental])
    yield Figure(
        "memory of the horse, at its highest",
        peak,
        "MB",
        reach=f"<= {_MEMORY_REACH:.0f} MB",
        is_reached=peak <= _MEMORY_REACH,
        samples=tuple(run.peak_mb for run in [*cold, *incremental]),
    )
    yield Figure(
        "writing and syncing so many bytes to the disk",
        disk,
        "s",
        disk / floor,
        _FLOOR,
    )


def _figures(floors: list[Floor], cold: list[Run], here: list[Run]) -> Iterator[Figure]:
    floor = median([one.seconds for one in floors])
    floor_cpu = median([one.cpu_seconds for one in floors])
    first = floors[0]
    yield Figure(
        "floor of the image",
        floor,
        "s",
        samples=tuple(one.seconds for one in floors),
        details={
            "compressed_bytes": first.compressed,
            "plain_bytes": first.plain,
            "cpu_seconds": [one.cpu_seconds for one in floors],
        },
    )
    for what, runs in (("in a horse", cold), ("in process", here)):
        seconds = [run.seconds for run in runs]
        ratio = median(seconds) / floor
        yield Figure(
            f"cold publish, {what}",
            median(seconds),
            "s",
            ratio,
            _FLOOR,
            f"<= {_COLD_REACH}",
            ratio <= _COLD_REACH,
            tuple(seconds),
            {"stages": [run.stages for run in runs]},
        )
        cpu = [run.cpu_seconds for run in runs]
        yield Figure(
            f"  its processor time, {what}",
            median(cpu),
            "s",
            median(cpu) / floor_cpu,
            "the floor's",
            samples=tuple(cpu),
        )
    for stage in cold[0].stages:
        spent = [run.stages.get(stage, 0.0) for run in cold]
        yield Figure(
            f"  of which {stage}", median(spent), "s", median(spent) / floor, _FLOOR
        )


def _incremental(site: Site, settings: Settings) -> list[Run]:
    image = bench_image(is_quick=settings.is_quick)
    runs = []
    for package in SMALL_PACKAGES:
        folder = settings.folder / f"with-{package}"
        variant = image.with_layer(small_layer(package), folder)
        reference = site.push(variant, package)
        os.sync()
        runs.append(site.run_in_horse(reference))
    return runs


def _disk_seconds(folder: Path, site: Site) -> float:
    """Write as many bytes as the repository has in one file, and sync."""
    size = sum(path.stat().st_size for path in (site.folder / "repository").rglob("*"))
    block = os.urandom(1 << 20)
    path = folder / "disk"
    os.sync()
    started = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(size >> 20):
            file.write(block)
        os.fsync(file.fileno())
    seconds = time.perf_counter() - started
    path.unlink()
    return seconds
