"""Real queue servers for tests: Redis from Debian, and the Valkey that we embed.

Both keep an append-only file and sync it before they answer, so that a test may kill
them at any moment. Used as::

    with RedisServer(tmp_path) as server:
        with server.client() as connection: ...
        server.kill(); server.start()
"""

import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

import redis

from tests.support.tools.programs import free_port
from workers.config import Config, QueueConfig, Secret
from workers.jobqueue.connection import connect_url
from workers.jobqueue.embedded_server import EmbeddedServer
from workers.jobqueue.parent_death import dies_with_parent

Flavour = Literal["redis", "valkey"]
DEADLINE_SECONDS = 30.0


class RedisServer:
    """A server of our own, with its data in ``folder``.

    Redis listens on a free loopback port, Valkey on a socket in its folder.
    """

    def __init__(
        self,
        folder: Path,
        flavour: Flavour = "redis",
        *settings: str,
        password: str = "",
    ) -> None:
        self._folder = folder
        self._flavour = flavour
        self._settings = settings
        self._login = f":{quote(password, safe='')}@" if password else ""
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._embedded = EmbeddedServer(folder) if flavour == "valkey" else None

    @property
    def url(self) -> str:
        if self._embedded:
            return self._embedded.url
        return f"redis://{self._login}127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def config(self) -> Config:
        """A configuration that names nothing but this server and its folder."""
        return Config(state=self._folder, queue=QueueConfig(url=Secret(self.url)))

    def client(self) -> redis.Redis:
        return connect_url(self.url)

    def start(self) -> None:
        if self._embedded:
            self._embedded.configure()
            command = self._embedded.command
            folder, inherited = self._embedded.folder, self._embedded.inherited
        else:
            binary = shutil.which("redis-server")
            assert binary, "install redis-server"
            command = [binary, "--port", str(self._port), "--bind", "127.0.0.1"]
            command += ["--appendonly", "yes", "--appendfsync", "always"]
            command += ["--save", "", "--logfile", "server.log", *self._settings]
            folder, inherited = self._folder, ()
            folder.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            pass_fds=inherited,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=dies_with_parent(signal.SIGKILL),  # noqa: PLW1509 - one call
        )
        deadline = time.monotonic() + DEADLINE_SECONDS
        with connect_url(self.url, patience_seconds=0) as probe:
            while True:
                try:
                    probe.ping()
                except redis.RedisError:
                    assert self._process.poll() is None, "the server did not start"
                    assert time.monotonic() < deadline, "the server does not answer"
                    time.sleep(0.02)
                else:
                    return

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        self.kill()
        self.start()

    def _end(self, how: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(how)
            self._process.wait(DEADLINE_SECONDS)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        if self._embedded:
            self._embedded.close()
