"""What we write, read by the real CernVM-FS tools and client.

Needs ``cvmfs_swissknife`` and ``cvmfs2`` on PATH, built from public source.
"""

# Names are bytes, which Path does not take.
# ruff: noqa: PTH115, PTH123, PTH208

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.repositories.folder_over_http import serve_folder
from tests.support.repositories.repository_builders import (
    FQRN,
    directory,
    file,
    is_mountpoint,
    keys,
    save_keys,
    small_tree,
)
from tests.support.tools.cvmfs_client import mounted, refresh, swissknife_check
from workers.cvmfs import (
    Dirent,
    GraftTree,
    LocalStorage,
    PutFile,
    PutLink,
    RemovePath,
    Repository,
    Snapshot,
    Tree,
)

NOW = int(time.time())
PLACE = b"/.flat/ab/abcdef"
LARGE_BYTES = 16 * 1024 * 1024 + 5


def needs(command: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(command) is None, reason=f"{command} is not on PATH"
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


def opened(base: Path) -> Repository:
    return Repository(FQRN, LocalStorage(base), keys(), is_mountpoint=is_mountpoint)


def full_tree(repository: Repository) -> Tree:
    """Return a tree with all a catalog can hold."""
    sink = repository.sink
    tree = small_tree(sink)
    large = bytes(range(251)) * (LARGE_BYTES // 251 + 1)
    tree.directories[b""] = {
        **tree.directories[b""],
        b"large": file(sink.put_bytes(large[:LARGE_BYTES]), 0o2711, mtime=1),
        b"middle": file(sink.put_bytes(large[:2_000_000]), mtime_ns=987_654_321),
        b"whiteout": Dirent(stat.S_IFCHR),
        b"a" * 255: file(sink.put_bytes(b"long name"), uid=2_147_483_648),
        b"many": directory(0o2750, gid=77),
        b"$not(a variable": Dirent(stat.S_IFLNK | 0o777, target=b"$x(y) %41 ~@"),
    }
    tree.directories[b"many"] = {
        b"%04d" % number: file(sink.put_bytes(b"%d" % number), mtime=number)
        for number in range(1000)
    }
    return tree


def publish_all(base: Path) -> Repository:
    repository = opened(base)
    prepared = repository.prepare(PLACE, full_tree(repository))
    assert prepared.losses == {}
    repository.commit(
        [
            GraftTree(PLACE, prepared),
            PutLink(b"/registry/group/image:tag", b"../../.flat/ab/abcdef"),
            PutFile(b"/plain/deep/file", repository.sink.put_bytes(b"plain"), 0o600),
        ],
        now=NOW + 1,
    )
    return repository


def run(*command: str) -> str:
    """Run a command that must succeed; its output is the test's explanation."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def check(base: Path, folder: Path) -> None:
    """Check as a stock server does, signatures and existence of objects included."""
    public_key = folder.parent / "keys" / f"{FQRN}.pub"
    with serve_folder(base.parent) as url:
        said = swissknife_check(folder, FQRN, f"{url}/{FQRN}", public_key)
    assert "no problems found" in said, said
    assert run("cvmfs_swissknife", "scrub", "-r", os.fspath(base / "data")) == ""


@needs("cvmfs_swissknife")
def test_the_stock_check_finds_nothing_from_creation_to_removal(
    base: Path, tmp_path: Path
) -> None:
    check(base, tmp_path / "check1")
    repository = publish_all(base)
    check(base, tmp_path / "check2")
    other = b"/.flat/ab/other"
    repository.commit(
        [
            GraftTree(other, repository.prepare(other, small_tree(repository.sink))),
            PutFile(PLACE + b"/bin/new/file", repository.sink.put_bytes(b"inside")),
            RemovePath(PLACE + b"/bin/one"),
            PutLink(b"/registry/group/image:tag", b"../../.flat/ab/other"),
        ],
        now=NOW + 2,
    )
    check(base, tmp_path / "check3")
    repository.commit([RemovePath(PLACE), RemovePath(b"/plain")], now=NOW + 3)
    check(base, tmp_path / "check4")


@needs("cvmfs_swissknife")
def test_the_stock_tools_list_our_tags_and_references(
    base: Path, tmp_path: Path
) -> None:
    publish_all(base)
    public_key = os.fspath(tmp_path / "keys" / f"{FQRN}.pub")
    with serve_folder(base.parent) as url:
        output = run(
            *("cvmfs_swissknife", "tag_list", "-w", f"{url}/{FQRN}", "-f", FQRN),
            *("-p", public_key, "-t", os.fspath(tmp_path), "-x"),
        )
    assert {line.split()[0] for line in output.splitlines()} == {
        "trunk",
        "trunk-previous",
    }


@contextmanager
def mounted_here(base: Path, tmp_path: Path) -> Iterator[Path]:
    """Mount the repository with the real client, over HTTP."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) or os.geteuid() != 0:
        pytest.skip("mounting needs root and /dev/fuse")
    public_key = tmp_path / "keys" / f"{FQRN}.pub"
    with (
        serve_folder(base.parent) as url,
        mounted(tmp_path / "client", FQRN, f"{url}/{FQRN}", public_key) as mountpoint,
    ):
        yield mountpoint


def seen_by_kernel(path: bytes) -> Dirent:
    """Return what stat, readlink and getxattr say; contents and groups are left out."""
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    names = os.listxattr(path, follow_symlinks=False)
    seconds, nanoseconds = divmod(status.st_mtime_ns, 10**9)
    return Dirent(
        status.st_mode,
        status.st_uid,
        status.st_gid,
        seconds,
        nanoseconds,
        target=os.readlink(path) if kind == stat.S_IFLNK else b"",
        device=status.st_rdev,
        xattrs=tuple(
            sorted(
                (os.fsencode(name), os.getxattr(path, name, follow_symlinks=False))
                for name in names
            )
        ),
    )


def compare(snapshot: Snapshot, mountpoint: Path) -> int:
    """Compare every entry of the mount with ours; return how many there are."""
    top = os.fsencode(mountpoint)
    count = 0
    for path, dirent in snapshot.walk():
        count += 1
        plain = dirent._replace(content=None, link_group=0)
        seen = seen_by_kernel(top + path)
        if not path:  # where the client lists its own attributes, too
            seen = seen._replace(xattrs=plain.xattrs)
        assert seen == plain, path
        if stat.S_ISDIR(dirent.mode):
            assert set(os.listdir(top + path)) == set(snapshot.listdir(path))
        if dirent.content is not None:
            with open(top + path, "rb") as content:
                assert content.read() == snapshot.read(dirent), path
    return count


@needs("cvmfs2")
def test_the_real_client_shows_what_was_published(base: Path, tmp_path: Path) -> None:
    repository = publish_all(base)
    with mounted_here(base, tmp_path) as mountpoint:
        assert compare(repository.read(), mountpoint) > 1000
        image = mountpoint / "registry/group/image:tag"
        one, two = ((image / "bin" / name).stat() for name in ("one", "two"))
        assert one.st_ino == two.st_ino
        assert one.st_nlink == 2
        assert (image / "bin").stat().st_nlink == 3
        revision = os.getxattr(mountpoint, "user.revision")
        assert int(revision) == repository.head().revision


@needs("cvmfs2")
@needs("cvmfs_talk")
def test_a_mounted_client_follows_to_the_next_revision(
    base: Path, tmp_path: Path
) -> None:
    repository = publish_all(base)
    with mounted_here(base, tmp_path) as mountpoint:
        assert not (mountpoint / "registry/group/later").is_symlink()
        other = b"/.flat/ab/other"
        prepared = repository.prepare(other, small_tree(repository.sink))
        repository.commit(
            [
                GraftTree(other, prepared),
                PutLink(b"/registry/group/later", b"../../.flat/ab/other"),
                RemovePath(PLACE),
            ],
            now=NOW + 2,
        )
        refresh(tmp_path / "client", FQRN)
        compare(repository.read(), mountpoint)
        assert (mountpoint / "registry/group/later/hello").read_bytes() == b"hello"
        assert not (mountpoint / "registry/group/image:tag").exists()
