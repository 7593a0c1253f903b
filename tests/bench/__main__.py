"""``python -m tests.bench [NAME…] [--quick] [--json FILE]``."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click
import pytest

from tests.bench import (
    catalogs,
    client,
    commits,
    memory,
    podman,
    publishing,
    receiver,
)
from tests.bench.report import Figure, Settings, machine, to_json, to_table

BENCHMARKS: Mapping[str, Callable[[Settings], Iterator[Figure]]] = {
    "publish": publishing.measure,
    "memory": memory.measure,
    "commit": commits.measure,
    "podman": podman.measure,
    "catalogs": catalogs.measure,
    "receiver": receiver.measure,
    "client": client.measure,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
@click.option("--quick", is_flag=True, help="Less of everything: does it work?")
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help="Write it there, too."
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="On the disk that is to be measured.  [default: that of temporary files]",
)
def main(
    names: tuple[str, ...], *, quick: bool, json_path: Path | None, folder: Path | None
) -> None:
    """Measure what design section 7 wants to be fast; all of it, or what is named."""
    what = machine()
    figures: list[Figure] = []
    for name in names or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=folder) as temporary:
            settings = Settings(Path(temporary), quick)
            click.echo(f"{name} …", err=True)
            try:
                figures += BENCHMARKS[name](settings)
            except pytest.skip.Exception as skipped:
                click.echo(f"{name} is left out: {skipped}", err=True)
    for key, value in what.items():
        click.echo(f"{key}: {value}")
    click.echo()
    click.echo(to_table(figures))
    if json_path is not None:
        json_path.write_text(to_json(what, figures))


if __name__ == "__main__":
    main()
