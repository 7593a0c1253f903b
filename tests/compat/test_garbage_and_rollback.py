"""The real check and the real client, after garbage collection and rollbacks."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.repositories.folder_over_http import serve_folder
from tests.support.repositories.repository_builders import (
    FQRN,
    is_mountpoint,
    keys,
    save_keys,
    small_tree,
)
from tests.support.tools.cvmfs_client import mounted, refresh, swissknife_check
from workers.cvmfs import (
    Collection,
    GraftTree,
    LocalStorage,
    PutLink,
    RemovePath,
    Repository,
    Retention,
    add_tag,
    collect_garbage,
    roll_back,
)

NOW = int(time.time())
LINK = b"/registry/group/image:tag"

pytestmark = pytest.mark.skipif(
    shutil.which("cvmfs_swissknife") is None,
    reason="cvmfs_swissknife is not on PATH",
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base = tmp_path / "srv" / FQRN
    Repository.create(
        FQRN,
        LocalStorage(base),
        keys(),
        now=NOW,
        ttl=5,
        is_mountpoint=is_mountpoint,
    )
    save_keys(keys(), tmp_path / "keys")
    return base


def publish(base: Path, number: int) -> None:
    """Publish image ``number``, and let the tag's link point to it."""
    repository = Repository(
        FQRN, LocalStorage(base), keys(), is_mountpoint=is_mountpoint
    )
    name = b"image-%d" % number
    path = b"/.flat/ab/" + name
    prepared = repository.prepare(path, small_tree(repository.sink, name))
    repository.commit(
        [
            GraftTree(path, prepared),
            PutLink(LINK, b"../../.flat/ab/" + name),
            RemovePath(b"/.flat/ab/image-%d" % (number - 2)),
        ],
        now=NOW,
    )


def collect(base: Path, newest: int) -> Collection:
    """Collect without grace, as if nothing had been put in this second."""
    for path in (base / "data").glob("??/*"):
        os.utime(path, (1, 1))
    return collect_garbage(
        FQRN,
        LocalStorage(base),
        keys(),
        now=NOW,
        retention=Retention(newest=newest, seconds=-1, grace_seconds=0),
    )


def check(base: Path, folder: Path) -> None:
    """Check as a stock server does, existence of all objects included."""
    public_key = base.parent.parent / "keys" / f"{FQRN}.pub"
    with serve_folder(base.parent) as url:
        said = swissknife_check(folder, FQRN, f"{url}/{FQRN}", public_key)
    assert "no problems found" in said, said
    done = subprocess.run(
        ["cvmfs_swissknife", "scrub", "-r", os.fspath(base / "data")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_real_check_is_content_after_many_revisions_collection_and_rollback(
    base: Path, tmp_path: Path
) -> None:
    for number in range(50):
        publish(base, number)
        if number == 20:
            add_tag(FQRN, LocalStorage(base), keys(), "twenty", now=NOW)
    check(base, tmp_path / "revisions")
    done = collect(base, newest=5)
    assert done.deleted.objects > 100
    check(base, tmp_path / "collected")
    roll_back(FQRN, LocalStorage(base), keys(), "twenty", now=NOW)
    check(base, tmp_path / "tag")
    roll_back(FQRN, LocalStorage(base), keys(), "49", now=NOW)
    check(base, tmp_path / "revision")
    collect(base, newest=1)
    check(base, tmp_path / "again")


def test_a_mounted_client_follows_a_rollback_and_outlives_a_collection(
    base: Path, tmp_path: Path
) -> None:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) or os.geteuid() != 0:
        pytest.skip("mounting needs root and /dev/fuse")
    public_key = tmp_path / "keys" / f"{FQRN}.pub"
    folder = tmp_path / "client"
    publish(base, 1)
    with (
        serve_folder(base.parent) as url,
        mounted(folder, FQRN, f"{url}/{FQRN}", public_key) as mountpoint,
    ):
        shown = mountpoint / os.fsdecode(LINK[1:]) / "hello"
        assert shown.read_bytes() == b"image-1"
        add_tag(FQRN, LocalStorage(base), keys(), "good", now=NOW)
        publish(base, 2)
        refresh(folder, FQRN)
        assert shown.read_bytes() == b"image-2"

        rolled = roll_back(FQRN, LocalStorage(base), keys(), "good", now=NOW)
        refresh(folder, FQRN)
        assert shown.read_bytes() == b"image-1"
        assert os.getxattr(mountpoint, "user.revision") == b"%d" % rolled.revision
        flat = mountpoint / ".flat" / "ab"
        assert sorted(path.name for path in flat.glob("image-*")) == ["image-1"]

        collect(base, newest=1)
        publish(base, 3)
        refresh(folder, FQRN)
        assert shown.read_bytes() == b"image-3"
        assert (flat / "image-3" / "bin" / "one").read_bytes() == b"hard image-3"
