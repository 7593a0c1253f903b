"""Trees cut into nested catalogs, seen by the real client and by the real check."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.images.tree_listing import (
    Listing,
    differences,
    list_directory,
    list_tree,
)
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
from tests.support.tools.programs import require_program
from workers.cvmfs import (
    Content,
    Dirent,
    GraftTree,
    LocalStorage,
    RemovePath,
    Repository,
    Snapshot,
    Tree,
)
from workers.cvmfs.catalog.cutting import CutSize

NOW = int(time.time())
PLACE = b"/.flat/ab/abcdef"
SMALL = CutSize(whole=100, most=40, least=6)
PACKAGES = ("asyncio", "ctypes", "email", "encodings", "json", "unittest")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    for program in ("cvmfs2", "cvmfs_talk", "cvmfs_swissknife"):
        require_program(program)
    save_keys(keys(), tmp_path / "keys")
    return Repository.create(
        FQRN,
        LocalStorage(tmp_path / "srv" / FQRN),
        keys(),
        now=NOW,
        ttl=5,
        is_mountpoint=is_mountpoint,
    )


@pytest.fixture
def url(repository: Repository, tmp_path: Path) -> Iterator[str]:
    with serve_folder(tmp_path / "srv") as running:
        yield f"{running}/{FQRN}"


def real_tree(repository: Repository) -> Tree:
    """Return some hundred real files in packages of Python, and one of everything."""
    tree = small_tree(repository.sink)
    library = Path(os.__file__).parent
    for top in PACKAGES:
        for folder, _, names in os.walk(library / top):
            path = os.fsencode(os.path.relpath(folder, library))
            outer, _, last = path.rpartition(b"/")
            tree.directories.put(outer, last, directory(mtime=len(names)))
            tree.directories[path] = {
                os.fsencode(name): file(
                    repository.sink.put_bytes((Path(folder) / name).read_bytes())
                )
                for name in names
            }
    return tree


def publish(repository: Repository, tree: Tree, now: int) -> int:
    """Publish the tree; return how many catalogs are nested in its own."""
    prepared = repository.prepare(PLACE, tree, SMALL)
    repository.commit([GraftTree(PLACE, prepared)], now=now)
    return prepared.counters.nested


def expected(tree: Tree, snapshot: Snapshot) -> Listing:
    def read(content: Content) -> list[bytes]:
        return [snapshot.read(Dirent(0o100644, content=content))]

    return list_tree(tree, read)


def seen(mountpoint: Path) -> Listing:
    """Return what the client shows, but for the markers of nested catalogs."""
    listing = list_directory(mountpoint / os.fsdecode(PLACE[1:]))
    markers = [path for path in listing if path.endswith(b".cvmfscatalog")]
    assert len(markers) > 1
    return {path: entry for path, entry in listing.items() if path not in markers}


def check(url: str, folder: Path) -> str:
    return swissknife_check(folder, FQRN, url, folder.parent / "keys" / f"{FQRN}.pub")


def test_a_mounted_client_sees_a_cut_tree_as_one_and_follows_its_changes(
    repository: Repository, url: str, tmp_path: Path
) -> None:
    tree = real_tree(repository)
    assert publish(repository, tree, NOW) >= 5
    client, public_key = tmp_path / "client", tmp_path / "keys" / f"{FQRN}.pub"
    with mounted(client, FQRN, url, public_key) as mountpoint:
        wanted = expected(tree, repository.read())
        assert differences(wanted, seen(mountpoint)) == []
        new = file(repository.sink.put_bytes(b"n"))
        tree.directories.put(b"email/mime", b"new", new)
        tree.directories.drop(b"", b"json")
        del tree.directories[b"json"]
        if b"json/__pycache__" in tree.directories:
            del tree.directories[b"json/__pycache__"]
        publish(repository, tree, NOW + 1)
        refresh(client, FQRN)
        wanted = expected(tree, repository.read())
        assert differences(wanted, seen(mountpoint)) == []


def test_the_stock_check_finds_nothing_in_a_cut_tree_from_publication_to_removal(
    repository: Repository, url: str, tmp_path: Path
) -> None:
    tree = real_tree(repository)
    assert publish(repository, tree, NOW) >= 5
    assert "no problems found" in check(url, tmp_path / "published")
    tree.directories.drop(b"", b"encodings")
    del tree.directories[b"encodings"]
    tree.directories.pop(b"encodings/__pycache__", None)
    publish(repository, tree, NOW + 1)
    assert "no problems found" in check(url, tmp_path / "replaced")
    repository.commit([RemovePath(PLACE)], now=NOW + 2)
    assert "no problems found" in check(url, tmp_path / "removed")
