"""A tree becomes a tar that all tools read."""

import io
import os
import stat
import tarfile
from pathlib import Path

from tests.support.harness.jobs import JobRunner
from tests.support.harness.published_image import found, published
from tests.support.images.hard_cases import HARD_CASES
from workers.archives.entries import ArchiveEntry
from workers.archives.tar import header
from workers.cvmfs import Content, Dirent
from workers.exporting import (
    export_tar,
)

SIZE = 9 << 30  # more than eleven octal digits can say


def test_a_tar_is_read_by_other_tools_too(runner: JobRunner, tmp_path: Path) -> None:
    published(runner, HARD_CASES["names"])
    snapshot, image = runner.repository.read(), found(runner)
    target = tmp_path / "image.tar"
    export_tar(snapshot, image.root(snapshot), target)
    with tarfile.open(target, errors="surrogateescape") as archive:
        names = {os.fsencode(name) for name in archive.getnames()}
    assert {b"\xff\xfe\x80", b"line\nbreak\t\\", b"n" * 255, b"-rf"} <= names


def test_an_exported_tar_says_the_size_of_a_file_of_more_than_8_gib() -> None:
    content = Content(b"", SIZE)
    entry = ArchiveEntry(b"large", Dirent(stat.S_IFREG | 0o644, content=content))
    with tarfile.open(fileobj=io.BytesIO(header(entry))) as tar:
        member = tar.next()
    assert member is not None
    assert (member.name, member.size) == ("large", SIZE)
