"""Real queue servers for tests: Redis from Debian, and the Valkey that we embed.

Both keep an append-only file and sync it before they answer, so that a test may kill
them at any moment. Used as::

    with RedisServer(tmp_path) as server:
        with server.client() as connection: ...
        server.kill(); server.start()
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

import redis

from tests.support.registries.certificates import make_certificate
from tests.support.tools.programs import free_port
from workers.config import Config, QueueConfig, Secret
from workers.jobqueue.connection import connect_url
from workers.jobqueue.embedded_server import EmbeddedServer
from workers.jobqueue.parent_death import dies_with_parent

Flavour = Literal["redis", "valkey"]
Scheme = Literal["redis", "rediss", "unix"]
DEADLINE_SECONDS = 30.0


class RedisServer:
    """A server of our own, with its data in ``folder``.

    Redis listens as its ``scheme`` says: on a free loopback port, there with TLS by an
    authority of its own, or on a socket in its folder, as Valkey does.
    """

    def __init__(
        self,
        folder: Path,
        flavour: Flavour = "redis",
        *settings: str,
        password: str = "",
        scheme: Scheme = "redis",
    ) -> None:
        self._folder = folder
        self._flavour = flavour
        self._settings = settings
        self._login = f":{quote(password, safe='')}@" if password else ""
        self._scheme = scheme
        self._tls = make_certificate(folder / "tls") if scheme == "rediss" else None
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._embedded = EmbeddedServer(folder) if flavour == "valkey" else None

    @property
    def url(self) -> str:
        if self._embedded:
            return self._embedded.url
        if self._scheme == "unix":
            return f"unix://{self._login}{self._folder}/socket?db=0"
        where = f"{self._scheme}://{self._login}127.0.0.1:{self._port}/0"
        return f"{where}?ssl_ca_certs={self._tls.authority}" if self._tls else where

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._port

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
            command = [binary, "--bind", "127.0.0.1", *self._listening()]
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

    def _listening(self) -> list[str]:
        if self._scheme == "unix":
            return ["--port", "0", "--unixsocket", "socket"]
        if self._tls is None:
            return ["--port", str(self._port)]
        tls = ["--port", "0", "--tls-port", str(self._port), "--tls-auth-clients", "no"]
        tls += ["--tls-cert-file", str(self._tls.certificate)]
        tls += ["--tls-key-file", str(self._tls.key)]
        return [*tls, "--tls-ca-cert-file", str(self._tls.authority)]

    def freeze(self) -> None:
        """Let it answer nothing and refuse nothing, until it thaws."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

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
