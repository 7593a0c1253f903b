"""Directories that the kernel's overlayfs stacks, as they are seen from outside.

The machine's own mounts stay as they are: a process has namespaces of its own, where it
mounts; all that is to be seen there is seen through ``/proc``.
"""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

# crun knows pure cgroup2 only, which only root can mount.
_OUTER = """
umount --recursive /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
exec "$@"
"""
# Relative names, as all options of a mount together have one page only.
_INNER = """
cd "$1"
echo entered
read -r _
mount -t overlay -o "$2" overlay "$3"
echo mounted
read -r _
"""
# All users there are but for the last: with him, crun takes the namespace for the
# machine's own, where devices can be made.
_USERS = "0 0 4294967294"


@dataclass(frozen=True, slots=True)
class Mounter:
    """Whoever mounts an overlay.

    Attributes:
        name: in a word.
        unshare: begins a command in namespaces of its own; empty: in root's.
        enter: options with which ``nsenter`` follows it there.
        option: of what is mounted there, with a comma behind it.
    """

    name: str
    unshare: tuple[str, ...]
    enter: tuple[str, ...]
    option: str


ROOT = Mounter("root", (), ("--mount",), "")
# Knows all users, so that what he sees can be compared, but has no rights outside.
USER = Mounter(
    "user",
    ("unshare", "--user", "--keep-caps", "--mount"),
    ("--user", "--mount"),
    "userxattr,",
)


class OverlayRefused(Exception):
    """The kernel does not mount it."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """What is mounted.

    Attributes:
        inside: where, for a command that begins with ``enter``.
        outside: the same for everybody else.
        enter: begins a command.
    """

    inside: Path
    outside: Path
    enter: tuple[str, ...]


@contextmanager
def mounted_overlay(
    mounter: Mounter, layers: Sequence[Path], folder: Path, *, written: Path | None
) -> Iterator[Overlay]:
    """Mount an overlay.

    Args:
        mounter: does it.
        layers: directories in one folder, lowest first.
        folder: where to, an empty one; is made if it is missing.
        written: where what is written goes; is made. None: nothing can be written.

    Raises:
        OverlayRefused: it cannot be mounted.
    """
    names = [layer.name for layer in reversed(layers)]
    # The kernel takes no layer that is alone.
    option = "lowerdir=" + ":".join([*names, str(folder)])
    made = [folder]
    if written is not None:
        work = written.with_name(written.name + ".work")
        option += f",upperdir={written},workdir={work}"
        made += [written, work]
    for path in made:
        path.mkdir(exist_ok=True)
    command = ["unshare", "--mount", "sh", "-ec", _OUTER, "sh", *mounter.unshare]
    command += ["sh", "-ec", _INNER, "sh"]
    command += [str(layers[0].parent), mounter.option + option, str(folder)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdin
        with process.stdin:
            _expect(process, "entered")
            if mounter.unshare:
                for name in ("uid_map", "gid_map"):
                    Path(f"/proc/{process.pid}/{name}").write_text(_USERS)
            print(file=process.stdin, flush=True)
            _expect(process, "mounted")
            enter = ("nsenter", f"--target={process.pid}", *mounter.enter)
            yield Overlay(folder, Path(f"/proc/{process.pid}/root{folder}"), enter)


def require_overlay(mounter: Mounter, folder: Path) -> None:
    """Skip the test where an overlay of two empty directories is refused."""
    layers = [folder / "below", folder / "above"]
    for layer in layers:
        layer.mkdir(parents=True)
    try:
        with mounted_overlay(
            mounter, layers, folder / "merged", written=folder / "written"
        ):
            pass
    except OverlayRefused as refusal:
        pytest.skip(f"no overlay can be mounted here: {refusal}")


def _expect(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout
    said = process.stdout.readline()
    if said != f"{word}\n":
        raise OverlayRefused(said + process.stdout.read())
