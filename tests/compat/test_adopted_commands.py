"""Our commands on a repository of ``cvmfs_server``, with its keys and its locks."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support.repositories.stock_repository import FQRN, StockRepository
from tests.support.tools.cvmfs_server import StockServer, stock_server
from webhook.cli import main


class Operator:
    """Types ``cvmfs-webhook repository …`` on the stock server's machine."""

    def __init__(self, server: StockServer) -> None:
        self.config = server.folder / "config.yaml"
        self.config.write_text(
            f"""\
state: .
repositories:
  {FQRN}:
    storage: "{server.storage(FQRN).as_uri()}"
    keys: "{server.keys}"
    spool: "{server.spool(FQRN)}"
"""
        )

    def run(self, verb: str, *arguments: str) -> Result:
        command = ["repository", verb, FQRN, *arguments, "--config", str(self.config)]
        return CliRunner().invoke(main, command)

    def do(self, verb: str, *arguments: str) -> str:
        result = self.run(verb, *arguments)
        assert result.exit_code == 0, result.output
        return result.stdout


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StockServer]:
    with stock_server(tmp_path / "machine") as server:
        server.mkfs(FQRN, "-z", "-g")
        yield server


@pytest.fixture
def operator(server: StockServer) -> Operator:
    return Operator(server)


def test_all_of_them_work_and_the_stock_tools_go_on(
    server: StockServer, operator: Operator
) -> None:
    info = json.loads(operator.do("info", "--json"))
    assert (info["repository"], info["revision"]) == (FQRN, 1)
    assert "no problems" in operator.do("check")
    operator.do("tag", "--add", "good")
    server.publish(FQRN, "echo bad > bad")
    operator.do("rollback", "good")
    assert "no problems" in operator.do("check")
    server.check(FQRN)
    operator.do("tag", "--remove", "good")
    operator.do("resign")
    operator.do("gc", "--keep", "1", "--keep-for", "0s", "--grace", "0s")
    assert "no problems" in operator.do("check")
    server.check(FQRN)
    server.publish(FQRN, "test ! -e bad; echo good > good")
    assert "good" in operator.do("ls", "/")
    StockRepository(server).publish(b"native")
    server.check(FQRN)


def test_init_refuses_what_mkfs_has_made(operator: Operator) -> None:
    result = operator.run("init")
    assert result.exit_code == 1
    assert "holds a repository already" in result.stderr
    assert "Traceback" not in result.stderr


def test_what_only_reads_works_during_a_transaction(
    server: StockServer, operator: Operator
) -> None:
    server.server("transaction", FQRN)
    operator.do("info")
    operator.do("ls", "/")
    assert "no problems" in operator.do("check")
    server.server("abort", "-f", FQRN)
