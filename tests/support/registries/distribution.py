"""A real Distribution registry on loopback, and real tools that push to it.

Both are Debian's (``docker-registry``, ``skopeo``); where one is absent the test is
skipped, with that reason.
"""

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.tools.programs import free_port, require_program

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class NotificationEndpoint:
    """Where the registry sends its notifications, as an administrator sets it up."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    name: str = "receiver"
    timeout: str = "1s"
    backoff: str = "1s"


@contextlib.contextmanager
def distribution_registry(
    folder: Path,
    *,
    endpoints: Sequence[NotificationEndpoint] = (),
    port: int | None = None,
    htpasswd: str | None = None,
    deletes: bool = True,
    references: bool = False,
    most_names: int = 1000,
) -> Iterator[str]:
    """Run a registry that stores in ``folder`` and yield its host:port.

    Starting again in the same folder, on the same port, continues it.

    Args:
        folder: for its storage, configuration and ``log``.
        endpoints: whom it notifies.
        port: None: any that is free.
        htpasswd: lines of ``user:bcrypt``; None: everybody may do everything.
        deletes: whether manifests can be deleted, which is not the default.
        references: whether a notification tells of all that a manifest refers to.
        most_names: that a page of its catalog may be asked for.
    """
    program = require_program("docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    host = f"127.0.0.1:{port or free_port()}"
    config = folder / "config.json"  # which is YAML, too
    configuration = _configuration(folder, host, endpoints, deletes=deletes)
    if references:
        configuration["notifications"]["events"] = {"includereferences": True}
    configuration["catalog"] = {"maxentries": most_names}
    if htpasswd is not None:
        (folder / "htpasswd").write_text(htpasswd)
        basic = {"realm": "registry", "path": str(folder / "htpasswd")}
        configuration["auth"] = {"htpasswd": basic}
    config.write_text(json.dumps(configuration))
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [program, "serve", str(config)], stdout=log, stderr=log
        )
        try:
            _wait_for(host, process, folder / "log")
            yield host
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _configuration(
    folder: Path,
    host: str,
    endpoints: Sequence[NotificationEndpoint],
    *,
    deletes: bool,
) -> dict[str, Any]:
    return {
        "version": "0.1",
        "log": {"level": "info"},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "storage")},
            "delete": {"enabled": deletes},
        },
        "http": {"addr": host, "secret": "only for tests"},
        "notifications": {
            "endpoints": [
                {
                    "name": endpoint.name,
                    "url": endpoint.url,
                    "headers": {k: [v] for k, v in endpoint.headers.items()},
                    "timeout": endpoint.timeout,
                    "threshold": 10,
                    "backoff": endpoint.backoff,
                }
                for endpoint in endpoints
            ]
        },
    }


def _wait_for(host: str, process: subprocess.Popen[bytes], log: Path) -> None:
    address, _, port = host.partition(":")
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection((address, int(port)), timeout=1).close()
            return
        time.sleep(0.02)
    pytest.fail(f"the registry did not start:\n{log.read_text(errors='replace')}")
