"""Repositories of every kind that ``cvmfs_server`` makes, continued by native commits.

The real tools accept catalogs, history, certificate and reflog that are named by SHA-1
in a repository whose own objects go by another hash, as each name says which it is; so
we need to write one kind only.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repositories.stock_repository import FQRN, StockRepository
from tests.support.tools.cvmfs_client import mounted
from tests.support.tools.cvmfs_server import StockServer, stock_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StockServer]:
    with stock_server(tmp_path / "machine") as server:
        yield server


@pytest.mark.parametrize(
    "options",
    [
        ("-a", "shake128", "-z"),
        ("-a", "rmd160", "-g"),
        ("-Z", "none", "-z", "-G", "1 day ago"),
        ("-X",),
        ("-v",),
    ],
    ids=" ".join,
)
def test_each_kind_of_repository_goes_on_both_ways(
    server: StockServer, options: tuple[str, ...], tmp_path: Path
) -> None:
    server.mkfs(FQRN, *options)
    adopted = StockRepository(server)
    before = adopted.repository().head()
    adopted.publish(b"one")
    after = adopted.repository().head()
    assert after.is_garbage_collectable == before.is_garbage_collectable
    assert after.metainfo == before.metainfo
    if "-a" not in options:  # the same bytes, so compressed as they do it
        assert after.certificate == before.certificate
    server.check(FQRN)
    server.publish(FQRN, "mkdir stock; echo stock > stock/file; test -e .flat/ab/one")
    if after.is_garbage_collectable:
        server.server("gc", "-f", "-r", "0", FQRN)
    adopted.publish(b"two")
    server.check(FQRN)
    public_key = server.keys / f"{FQRN}.pub"
    url = server.repository_url(FQRN)
    with mounted(tmp_path / "client", FQRN, url, public_key) as mountpoint:
        for name in (b"one", b"two"):
            shown = mountpoint / ".flat" / "ab" / name.decode() / "hello"
            assert shown.read_bytes() == name
        if "-X" not in options:  # there, the operator brings the data
            assert (mountpoint / "stock" / "file").read_text() == "stock\n"


def test_generic_tags_a_dirtab_and_external_files_survive_native_commits(
    server: StockServer,
) -> None:
    server.mkfs(FQRN, "-z")
    adopted = StockRepository(server)
    server.publish(FQRN, "mkdir -p soft/1; echo '/soft/*' > .cvmfsdirtab")
    for number in range(4):
        server.publish(FQRN, f"mkdir soft/n{number}; echo x > soft/n{number}/f")
    server.server("transaction", FQRN)
    server.shell(f"echo external > /cvmfs/{FQRN}/external")
    server.server("publish", "-X", FQRN)
    tags = {tag.name for tag in adopted.repository().tags()}
    assert len([name for name in tags if name.startswith("generic")]) >= 4
    adopted.publish(b"one")
    assert tags <= {tag.name for tag in adopted.repository().tags()}
    server.check(FQRN)
    server.publish(FQRN, "mkdir soft/later; echo x > soft/later/f")
    assert adopted.has("/soft/later/.cvmfscatalog")
    assert adopted.has("/.flat/ab/one/hello")
    adopted.publish(b"two")
    server.check(FQRN)
    assert adopted.has("/external")
