"""Images that can run, and what runs them: crun, as podman and CRI-O do.

The images hold programs of this machine with the libraries that they need.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.images import tars
from tests.support.images.oci import Layer, gzip_layer
from tests.support.registries.distribution import tool

# crun knows pure cgroup2 only, which a machine need not have: a mount namespace can.
_SCRIPT = """
umount --recursive /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
exec "$@"
"""
_ENTER = ("unshare", "--mount", "sh", "-c", _SCRIPT, "sh")
# Says with NULs between: its directory, a variable, and what it was given.
_TELL = rb"""#!/bin/sh
printf '%s\0' "$PWD" "$GREETING" "$@"
"""
TELL = "/opt/tell"


def runnable_layer() -> Layer:
    """Return a layer with a shell, ``env``, and a program that tells what it is given.

    A container in it may begin in ``/work``.
    """
    entries = [
        tars.file(b"opt/tell", _TELL, mode=0o755),
        tars.directory(b"work"),
    ]
    libraries: set[str] = set()
    for name, program in (("bin/sh", "dash"), ("usr/bin/env", "env")):
        found = tool(program)
        data = Path(found).read_bytes()
        entries.append(tars.file(name.encode(), data, mode=0o755))
        said = subprocess.run(["ldd", found], check=True, capture_output=True)
        libraries |= set(re.findall(r"(/\S+) \(", said.stdout.decode()))
    entries += [
        tars.file(path[1:].encode(), Path(path).read_bytes(), mode=0o755)
        for path in sorted(libraries)
    ]
    return gzip_layer(tars.tar(*entries))


def run_in(
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
    crun = [tool("crun"), "--cgroup-manager=disabled", "--root", str(folder / "state")]
    crun += ["run", "--bundle", str(folder), folder.name]
    done = subprocess.run(
        [*enter, *crun],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().split("\0")[:-1]
