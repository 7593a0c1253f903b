"""Podman itself, with an additional image store and nothing of this machine's."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import tars
from tests.support.distribution import tool
from tests.support.oci import Layer, gzip_layer

# crun knows pure cgroup2 only, which a machine need not have: a mount namespace can.
# Podman waits 20 seconds for its monitor to be gone, which the first process of not
# every machine buries at once: a shell does.
_SCRIPT = """
umount --recursive /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
code=0
"$@" || code=$?
exit $code
"""
_SHELL = (
    *("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"),
    *("sh", "-ec", _SCRIPT, "sh"),
)
_LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
_PROGRAMS = ("sh", "cat", "ls", "stat", "getfattr")


@dataclass(frozen=True, slots=True)
class Podman:
    """Podman with a storage of its own.

    Attributes:
        folder: for all that it writes.
        store: an additional image store.
    """

    folder: Path
    store: Path

    def tried(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        self.folder.mkdir(exist_ok=True)
        storage, containers = self.folder / "storage.conf", self.folder / "empty.conf"
        storage.write_text(
            f"""\
[storage]
driver = "overlay"
graphroot = "{self.folder}/root"
runroot = "{self.folder}/run"
[storage.options]
additionalimagestores = ["{self.store}"]
"""
        )
        containers.write_text("")
        own = [
            f"--tmpdir={self.folder}/tmp",
            "--cgroup-manager=cgroupfs",
            "--events-backend=none",
        ]
        return subprocess.run(
            [*_SHELL, tool("podman"), *own, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "CONTAINERS_CONF": str(containers),
                "CONTAINERS_STORAGE_CONF": str(storage),
            },
        )

    def __call__(self, *arguments: str) -> str:
        """Run a command that must succeed; return what it prints."""
        done = self.tried(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, image: str, *command: str) -> str:
        """Run a container that must succeed; return what it prints."""
        return self(*_RUN, image, *command)

    def inspect(self, image: str) -> dict[str, Any]:
        """Return what is known of an image."""
        found: list[dict[str, Any]] = json.loads(self("image", "inspect", image))
        return found[0]

    def names(self) -> set[str]:
        """Return the names of all images."""
        listed = json.loads(self("images", "--format=json"))
        return {name for image in listed for name in image.get("Names") or ()}


_RUN = (
    "run",
    "--rm",
    "--pull=never",
    "--network=none",
    "--cgroups=disabled",
    *_LIMITS,
)


def require_podman(folder: Path) -> None:
    """Skip the test where podman cannot start a container of any image."""
    if os.geteuid() != 0:
        pytest.skip("podman needs root here, for layers of other owners")
    tool("crun")
    root = folder / "rootfs"
    for name, data in _programs("sh").items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
        (root / name).chmod(0o755)
    empty = folder / "store"
    for name in ("overlay", "overlay-layers", "overlay-images"):
        (empty / name).mkdir(parents=True)
    done = Podman(folder / "probe", empty).tried(
        *_RUN, "--rootfs", str(root), "/bin/sh", "-c", "echo fine"
    )
    if done.stdout != "fine\n":
        pytest.skip(f"podman starts no containers here: {done.stderr.strip()}")


def programs_layer(*entries: bytes) -> Layer:
    """Return a layer with a shell and a few programs of this machine's, and more."""
    programs = [
        tars.file(name.encode(), data, mode=0o755)
        for name, data in _programs(*_PROGRAMS).items()
    ]
    return gzip_layer(tars.tar(*programs, *entries))


def _programs(*names: str) -> dict[str, bytes]:
    """Return programs and the libraries they need, by their paths in an image."""
    found = {}
    for name in names:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not installed")
        found[f"bin/{name}"] = Path(path).read_bytes()
        done = subprocess.run(["ldd", path], check=True, capture_output=True, text=True)
        for word in done.stdout.split():
            if word.startswith("/"):
                found[word[1:]] = Path(word).read_bytes()
    return found
