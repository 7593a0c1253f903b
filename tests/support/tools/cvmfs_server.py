"""The real ``cvmfs_server`` on a machine of its own, as far as it can tell.

It runs in a mount namespace whose root is a copy-on-write view of this machine's, so
that nothing it does to ``/etc``, ``/srv``, ``/var``, ``/cvmfs`` and the mount table is
seen outside, or has to be cleaned up. The folders that others share with it are real:
``srv``, ``spool`` and ``etc`` (its ``/etc/cvmfs``) in the folder given.

Neither systemd nor Apache run there. ``systemctl``, by way of which it would mount, is
hidden by a whiteout, and in place of Apache's commands there are some that do nothing;
the storage is served by ``tests.support.repositories.folder_over_http``.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.repositories.folder_over_http import serve_folder
from tests.support.tools.programs import require_program

_SET_UP = r"""
set -e
here=$1 root=$1/root
mount -t tmpfs tmpfs "$root"
mkdir -p "$root/upper/usr/bin" "$root/work" "$root/new"
mknod "$root/upper/usr/bin/systemctl" c 0 0
new=$root/new
mount -t overlay overlay \
  -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" "$new"
for name in proc sys dev; do mount --rbind "/$name" "$new/$name"; done
mount -t tmpfs tmpfs "$new/tmp"
mkdir -p "$new/cvmfs" "$new/var/log/cvmfs" "$new/run/cvmfs" "$new/etc/apache2" \
  "$new/etc/apache2/conf-available" "$new/etc/apache2/conf-enabled" \
  "$new/var/lib/cvmfs-server/geo" "$new/var/spool/cvmfs" "$new/srv"
for name in service apachectl apache2ctl a2enmod sysctl; do
  rm -f "$new/usr/sbin/$name"
  printf '#!/bin/sh\necho " wsgi_module (shared)"\n' > "$new/usr/sbin/$name"
  chmod 0755 "$new/usr/sbin/$name"
done
cp -a "$new/etc/cvmfs/." "$here/etc"
mount --bind "$here/etc" "$new/etc/cvmfs"
mount --bind "$here/spool" "$new/var/spool/cvmfs"
mount --bind "$here/srv" "$new/srv"
# Only from inside: whoever enters before would be at the root of this machine.
exec chroot "$new" sh -c 'echo ready; exec cat'
"""
_UNSHARE = ("unshare", "--mount", "--propagation", "private")
_TIMEOUT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class StockServer:
    """A release manager machine, or a stratum 1.

    Attributes:
        folder: holds ``srv``, ``spool`` and ``etc``.
        process: keeps the namespace.
        url: of ``/srv``, where ``/cvmfs/<fqrn>`` is below.
    """

    folder: Path
    process: int
    url: str

    @property
    def keys(self) -> Path:
        """Its folder of keys."""
        return self.folder / "etc" / "keys"

    def storage(self, fqrn: str) -> Path:
        """Return where a repository lies."""
        return self.folder / "srv" / "cvmfs" / fqrn

    def spool(self, fqrn: str) -> Path:
        """Return where the locks of a repository lie."""
        return self.folder / "spool" / fqrn

    def repository_url(self, fqrn: str) -> str:
        """Return where a repository is served."""
        return f"{self.url}/cvmfs/{fqrn}"

    def command(self, *words: str) -> list[str]:
        """Return the command line that runs a command there."""
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        inside = ["env", "-C", "/", "-i", f"PATH={path}", "HOME=/root", *words]
        target = str(self.process)
        return ["nsenter", "--target", target, "--mount", "--root", "--", *inside]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command there, however it ends."""
        return subprocess.run(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )

    def do(self, *words: str) -> str:
        """Run a command there that must succeed; return what it said."""
        done = self.run(*words)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def server(self, *words: str) -> str:
        """Run ``cvmfs_server …``, which must succeed."""
        return self.do("cvmfs_server", *words)

    def mkfs(self, fqrn: str, *options: str, owner: str = "root") -> None:
        """Make a repository."""
        url = self.repository_url(fqrn)
        self.server("mkfs", "-p", "-o", owner, *options, "-w", url, fqrn)

    def shell(self, script: str) -> str:
        """Run a line of shell there."""
        return self.do("sh", "-ec", script)

    def publish(self, fqrn: str, script: str) -> str:
        """Run a line of shell in a transaction, in the repository, and publish."""
        self.server("transaction", fqrn)
        self.shell(f"cd /cvmfs/{fqrn}; {script}")
        return self.server("publish", "-f", fqrn)

    def check(self, fqrn: str) -> None:
        """Let the real check find nothing, in catalogs, objects and reflog."""
        said = self.server("check", "-i", fqrn)
        assert "no problems found" in said, said


@contextmanager
def stock_server(folder: Path) -> Iterator[StockServer]:
    """Start such a machine, in a new folder; end all that runs there afterwards."""
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("cvmfs_server needs root and /dev/fuse")
    for program in ("cvmfs_server", "cvmfs_swissknife", "cvmfs2"):
        require_program(program)
    for name in ("root", "srv", "spool", "etc"):
        (folder / name).mkdir(parents=True)
    with subprocess.Popen(
        [*_UNSHARE, "sh", "-c", _SET_UP, "sh", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        with serve_folder(folder / "srv") as url:
            server = StockServer(folder, holder.pid, url)
            try:
                yield server
            finally:
                _unmount(server)
                holder.kill()
    shutil.rmtree(folder / "root", ignore_errors=True)


def _unmount(server: StockServer) -> None:
    """Unmount what the tools mounted: each mount of a repository keeps a process."""
    table = server.run("cat", "/proc/mounts").stdout.splitlines()
    places = [line.split()[1] for line in table]
    for place in reversed(places):
        if place.startswith(("/cvmfs/", "/var/spool/cvmfs/")):
            with suppress(subprocess.TimeoutExpired):
                server.run("umount", "--lazy", place)
