"""An operator's commands on one repository, run in this process."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from webhook.cli import main
from workers.care.repository import create_repository
from workers.config import load_config
from workers.cvmfs import PutFile
from workers.wiring import open_repository

FQRN = "unpacked.example.org"


class Operator:
    """Runs commands on one configuration."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "config.yaml"
        self.storage = folder / "cvmfs"
        self.keys = folder / "keys"
        self.config.write_text(
            f"""\
state: .
operator: {{token: a long enough token}}
repositories:
  {FQRN}: {{storage: "{self.storage.as_uri()}", keys: keys, ttl: 60}}
"""
        )
        loaded = load_config(self.config, {})
        create_repository(loaded, FQRN)
        self.repository = open_repository(loaded, FQRN)

    def run(self, verb: str, *arguments: str) -> Result:
        command = ["repository", verb, *arguments, "--config", str(self.config)]
        return CliRunner().invoke(main, command)

    def ask(self, verb: str, *arguments: str) -> Any:
        result = self.run(verb, *arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def publish(self, text: bytes) -> None:
        content = self.repository.sink.put_bytes(text)
        now = self.repository.head().timestamp + 1
        self.repository.commit([PutFile(b"/file", content)], now=now)

    def read(self) -> bytes:
        snapshot = self.repository.read()
        dirent = snapshot.lookup(b"/file")
        assert dirent is not None
        return snapshot.read(dirent)
