"""File systems of a test's own."""

import os
import shutil
import subprocess
from pathlib import Path


def mount(place: Path, options: str, *words: str) -> None:
    subprocess.run(["mount", "-o", options, *words, place], check=True)


def may_mount() -> bool:
    """Whether this process may mount file systems."""
    return (
        os.geteuid() == 0
        and shutil.which("unshare") is not None
        and subprocess.run(
            ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
            check=False,
            capture_output=True,
        ).returncode
        == 0
    )
