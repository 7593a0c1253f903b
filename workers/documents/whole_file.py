"""Files and folders for our own user alone, unless told otherwise, whatever the umask.

A file is there whole or not at all.
"""

import os
from pathlib import Path


def write_whole(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace a file at once; it is on the disk before it has its name.

    Args:
        path: of the file.
        text: all of it.
        mode: who may read it.
    """
    aside = path.with_name(f"{path.name}.new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    aside.replace(path)


def make_private_folder(path: Path) -> None:
    """Make a folder that only our own user may enter, if it is not there.

    Those above it that are missing are made so that nobody else can put another in its
    place. What is there already is the operator's to open or close.
    """
    if path.is_dir():
        return
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir(mode=0o755, exist_ok=True)
            folder.chmod(0o755)
    path.mkdir(mode=0o700, exist_ok=True)
    path.chmod(0o700)
