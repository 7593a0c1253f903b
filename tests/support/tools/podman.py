"""Podman itself, with an additional image store and nothing of this machine's."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import tars
from tests.support.images.oci import Layer, gzip_layer
from tests.support.tools.programs import require_program

# What somebody who is not root is, in the namespaces below.
ORDINARY_USER = 61234

# In namespaces, so that the machine stays as it is and no process outlives its command.
# crun knows pure cgroup2 only, which a machine need not have. The folders of tests are
# root's alone, and their names are long: where its runroot has more than fifty letters,
# podman cannot clean up behind a container, and waits twenty seconds for it in vain.
_SCRIPT = f"""
folder=$1 repository=$2 user=$3
shift 3
umount --recursive /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs -o mode=755 none /run
mkdir -p /run/podman /run/repository /run/user/$user /run/etc /run/work
mount --bind "$folder" /run/podman
mount --bind "$repository" /run/repository
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work none /etc
echo user:x:{ORDINARY_USER}:{ORDINARY_USER}::/run/podman:/bin/sh >> /etc/passwd
echo user:x:{ORDINARY_USER}: >> /etc/group
echo user:100000:65536 | tee /etc/subuid > /etc/subgid
chown $user:$user /run/podman /run/user/$user
code=0
setpriv --reuid $user --regid $user --clear-groups "$@" || code=$?
exit $code
"""
_SHELL = (
    *("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"),
    *("sh", "-ec", _SCRIPT, "sh"),
)
_CONTAINERS = """\
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
"""
_OVERLAY = """
cd /run/podman
mkdir lower upper work merged
mount -t overlay -o userxattr,lowerdir=lower,upperdir=upper,workdir=work none merged
"""
_RUN = ("run", "--rm", "--pull=never")
_PROGRAMS = ("sh", "cat", "ls", "stat", "getfattr")


@dataclass(frozen=True, slots=True)
class Podman:
    """Podman with a storage of its own.

    Attributes:
        folder: for all that it writes; is ``/run/podman`` to it.
        store: an additional image store; what is beside it is there, too.
        user: who runs it.
    """

    folder: Path
    store: Path
    user: int = 0

    def tried(
        self, *arguments: str, program: str = "podman"
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of podman, or of another program on the same storage."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "containers.conf").write_text(_CONTAINERS)
        (self.folder / "storage.conf").write_text(
            f"""\
[storage]
driver = "overlay"
graphroot = "/run/podman/root"
rootless_storage_path = "/run/podman/root"
runroot = "/run/user/{self.user}/containers"
[storage.options]
additionalimagestores = ["/run/repository/{self.store.name}"]
"""
        )
        places = [str(self.folder), str(self.store.parent), str(self.user)]
        return subprocess.run(
            [*_SHELL, *places, require_program(program), *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            cwd="/",
            env={
                "PATH": os.environ["PATH"],
                "HOME": "/run/podman",
                "XDG_RUNTIME_DIR": f"/run/user/{self.user}",
                "CONTAINERS_CONF": "/run/podman/containers.conf",
                "CONTAINERS_STORAGE_CONF": "/run/podman/storage.conf",
            },
        )

    def __call__(self, *arguments: str, program: str = "podman") -> str:
        """Run a command that must succeed; return what it prints."""
        done = self.tried(*arguments, program=program)
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


def require_podman(folder: Path) -> None:
    """Skip the test where podman cannot start a container of any image."""
    if os.geteuid() != 0:
        pytest.skip("podman needs root here, for layers of other owners")
    require_program("crun")
    root = folder / "probe" / "rootfs"
    for name, data in _programs("sh").items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
        (root / name).chmod(0o755)
    done = Podman(folder / "podman", empty_store(folder / "probe")).tried(
        *_RUN, "--rootfs", "/run/repository/rootfs", "/bin/sh", "-c", "echo fine"
    )
    if done.stdout != "fine\n":
        pytest.skip(f"podman starts no containers here: {done.stderr.strip()}")


def require_rootless_podman(folder: Path) -> None:
    """Skip the test where podman is of no use to ordinary users."""
    require_podman(folder)
    require_program("newuidmap")
    store = empty_store(folder / "probe")
    rootless = Podman(folder / "rootless", store, ORDINARY_USER)
    done = rootless.tried("unshare", "sh", "-ec", _OVERLAY)
    if done.returncode != 0:
        pytest.skip(f"no overlay for ordinary users here: {done.stderr.strip()}")


def empty_store(folder: Path) -> Path:
    """Make an image store without images in a folder; return it."""
    store = folder / "store"
    for name in ("overlay", "overlay-layers", "overlay-images"):
        (store / name).mkdir(parents=True, exist_ok=True)
    return store


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
