"""How often the kernel has killed for want of memory among the processes around us.

A process that is killed by SIGKILL may have been so by anybody. The kernel counts those
that it kills itself, for each control group; a count that rose meanwhile is its word.

Source: Linux, Documentation/admin-guide/cgroup-v2.rst, ``memory.events``; of version 1
Documentation/admin-guide/cgroup-v1/memory.rst, ``memory.oom_control``.
"""

from collections.abc import Iterator
from pathlib import Path

_MOUNT, _OURS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def oom_kills(mount: Path = _MOUNT, ours: Path = _OURS) -> int | None:
    """Return the count of our own control group; None where the kernel keeps none.

    Args:
        mount: where control groups are mounted.
        ours: which are ours.
    """
    for path in _counters(mount, ours):
        try:
            lines = path.read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        for line in lines:
            key, _, value = line.partition(" ")
            if key == "oom_kill" and value.isdigit():
                return int(value)
    return None


def _counters(mount: Path, ours: Path) -> Iterator[Path]:
    """Yield where the count may stand, the likeliest first."""
    try:
        groups = ours.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for group in groups:
        _, _, rest = group.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            folder, name = mount, "memory.events"
        elif "memory" in controllers.split(","):
            folder, name = mount / "memory", "memory.oom_control"
        else:
            continue
        yield folder / path.lstrip("/") / name
        yield folder / name  # in a container the path may be the host's
