"""Images that can run, and what runs them: crun, as podman and CRI-O do.

The images hold programs of this machine with the libraries that they need.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.tools.programs import require_program

# crun knows pure cgroup2 only, which a machine need not have: a mount namespace can.
_SCRIPT = """
umount --recursive /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
exec "$@"
"""
_ENTER = ("unshare", "--mount", "sh", "-c", _SCRIPT, "sh")


def run_with_crun(
    root: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    *,
    directory: str = "/",
    enter: Sequence[str] = _ENTER,
    is_readonly: bool = True,
) -> list[str]:
    """Run a program of a root file system; return what it wrote, cut at each NUL.

    Args:
        root: need not be writable.
        arguments: the program's path first.
        environment: all of it.
        folder: for crun's own files; is emptied.
        directory: in which it begins.
        enter: begins a command where the root is, and a pure cgroup2.
        is_readonly: the program cannot write, whether or not the root is writable.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    document = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": list(arguments),
            "env": [f"{name}={value}" for name, value in environment.items()],
            "cwd": directory,
        },
        "root": {"path": str(root.resolve()), "readonly": is_readonly},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        ],
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
    }
    (folder / "config.json").write_text(json.dumps(document))
    crun = [
        require_program("crun"),
        "--cgroup-manager=disabled",
        "--root",
        str(folder / "state"),
    ]
    crun += ["run", "--bundle", str(folder), folder.name]
    done = subprocess.run(
        [*enter, *crun],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().split("\0")[:-1]
