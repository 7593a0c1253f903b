"""The real CernVM-FS client and tools, where they are on PATH.

They are not packaged anywhere that a test could install them from; without them the
tests that need them are skipped, with that reason.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.tools.programs import require_program


@contextmanager
def mounted(
    folder: Path, fqrn: str, server_url: str, public_key: Path
) -> Iterator[Path]:
    """Mount a repository with the real client and yield the mountpoint.

    Args:
        folder: for the client's cache and sockets; a new one for each mount.
        fqrn: the repository.
        server_url: ``http://…/cvmfs/@fqrn@`` or ``file://…``.
        public_key: the master key's public half.
    """
    program = require_program("cvmfs2")
    mountpoint = folder / "mnt"
    for name in ("cache", "run", "mnt"):
        (folder / name).mkdir(parents=True)
    config = folder / "client.conf"
    config.write_text(
        f"""\
CVMFS_SERVER_URL={server_url}
CVMFS_HTTP_PROXY=DIRECT
CVMFS_PUBLIC_KEY={public_key}
CVMFS_CACHE_BASE={folder}/cache
CVMFS_RELOAD_SOCKETS={folder}/run
CVMFS_USER=root
CVMFS_CLAIM_OWNERSHIP=no
CVMFS_CHECK_PERMISSIONS=yes
CVMFS_SHARED_CACHE=no
CVMFS_QUOTA_LIMIT=4000
CVMFS_NFILES=8192
CVMFS_TIMEOUT=5
CVMFS_MAX_RETRIES=1
CVMFS_USYSLOG={folder}/log
CVMFS_USE_GEOAPI=no
"""
    )
    options = f"config={config},cvmfs_suid,allow_other"
    done = subprocess.run(
        [program, "-o", options, fqrn, str(mountpoint)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    log = folder / "log"
    said = log.read_text() if log.exists() else ""
    assert done.returncode == 0, done.stdout + done.stderr + said
    try:
        yield mountpoint
    finally:
        subprocess.run(["umount", "--lazy", str(mountpoint)], check=True)


def refresh(folder: Path, fqrn: str) -> None:
    """Make a mounted client look for a new revision now."""
    socket = folder / "cache" / fqrn / f"cvmfs_io.{fqrn}"
    subprocess.run(
        [require_program("cvmfs_talk"), "-p", str(socket), "remount", "sync"],
        check=True,
        capture_output=True,
        timeout=60,
    )


def swissknife_check(folder: Path, fqrn: str, url: str, public_key: Path) -> str:
    """Return what ``cvmfs_swissknife check`` says of a repository."""
    folder.mkdir()
    command = [
        require_program("cvmfs_swissknife"),
        "check",
        "-c",
        "-r",
        url,
        "-N",
        fqrn,
    ]
    done = subprocess.run(
        [*command, "-k", str(public_key), "-t", str(folder)],
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.stdout + done.stderr
