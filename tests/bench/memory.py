"""Memory of a worker's process for an image as large as the policy allows."""

from collections.abc import Iterator

from tests.bench.images import bench_image, repeated_image
from tests.bench.publishing_site import Run, open_site
from tests.bench.report import Figure, Settings
from tests.support.images.oci import tar_of
from workers.policy import ImageLimits

_REACH = 300.0


def measure(settings: Settings) -> Iterator[Figure]:
    """Publish an image of a million entries in one layer; then one that shares it."""
    entries = ImageLimits().files // (10 if settings.is_quick else 1)
    usual = bench_image(is_quick=settings.is_quick)
    image = repeated_image(usual, entries, settings.folder / "repeated")
    with open_site(settings.folder / "memory") as site:
        site.empty_repository()
        cold = site.run_in_horse(site.push(image, "cold"))
        shared = image.with_layer(
            tar_of({"one file more": b""}), settings.folder / "shared"
        )
        again = site.run_in_horse(site.push(shared, "shared"))
    yield _figure(f"memory of the horse, {entries} entries", cold)
    yield _figure("  for an image that shares its layer", again)
    yield Figure("  time to publish it", cold.seconds, "s")


def _figure(what: str, run: Run) -> Figure:
    return Figure(
        what,
        run.peak_mb,
        "MB",
        reach=f"<= {_REACH:.0f} MB",
        is_reached=run.peak_mb <= _REACH,
    )
