"""Where an export goes: something new, whole or not there at all."""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, cast

from workers.archives.outcome import ExportFailed

STANDARD_OUTPUT = Path("-")


@contextmanager
def new_directory(path: Path) -> Iterator[None]:
    """Make a directory to fill; what was written goes again if filling it fails.

    Raises:
        ExportFailed: it is not empty, or the disk refuses (then, and while filling it).
    """
    is_ours = not path.exists()
    with _translated(path):
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise ExportFailed(f"{path} is not empty: give a new directory")
        try:
            yield
        except BaseException:
            for child in list(path.iterdir()):
                _remove(child)
            if is_ours:
                path.rmdir()
            raise


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write; it appears under its name once it is whole.

    Args:
        path: of the file; ``-`` is standard output. Pipes and devices are written to.

    Raises:
        ExportFailed: there is such a file, or the disk refuses (then, and while it is
            written).
    """
    with _translated(path):
        if path == STANDARD_OUTPUT:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        elif path.is_file() and path.stat().st_size:
            raise ExportFailed(f"{path} is there already: give another name")
        elif path.exists() and not path.is_file() and not path.is_dir():
            with path.open("wb") as file:
                yield file
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield from _aside(path)


def _aside(path: Path) -> Iterator[BinaryIO]:
    if path.is_dir():
        raise ExportFailed(f"{path} is a directory: give the name of a file in it")
    prefix = f".{path.name}."
    with NamedTemporaryFile(dir=path.parent, prefix=prefix, delete=False) as file:
        aside = Path(file.name)
        try:
            yield cast("BinaryIO", file)
            file.flush()
            aside.chmod(0o644)  # it is for its owner alone so far
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename if error.filename is not None else path
        shown = (
            where.decode(errors="backslashreplace")
            if isinstance(where, bytes)
            else where
        )
        raise ExportFailed(f"cannot write {shown}: {error.strerror}") from error


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
