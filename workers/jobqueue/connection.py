"""The connection to the queue: to the configured Redis, or to the embedded server."""

import errno
import os
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

import redis

from workers.config import Config
from workers.config.disk_space import free_bytes
from workers.errors import TransientError
from workers.jobqueue.healing import HealingConnection, HealingPool, PatientRetry

# unix(7): sun_path has 108 bytes, the last of which is a zero.
_LONGEST_SOCKET_NAME = 107
_FULL_BYTES = 1 << 16


class NoQueue(TransientError):
    """There is no queue to connect to."""


def embedded_folder(state: Path) -> Path:
    """Return where the embedded server of a state folder keeps its data."""
    return state / "queue"


def queue_url(config: Config) -> str:
    """Return the URL of the queue; it holds a password.

    Raises:
        NoQueue: the queue is the embedded server, which was never started.
    """
    if config.queue.url is not None:
        return config.queue.url.reveal()
    try:
        return (embedded_folder(config.state) / "url").read_text("utf-8").strip()
    except OSError as exc:
        raise NoQueue(
            f"no queue: {config.state} holds no embedded one; start cvmfs-webhook up, "
            "or set queue.url"
        ) from exc


def shown_url(config: Config) -> str:
    """Return the URL of the queue for people: without its password."""
    if config.queue.url is None:
        return f"embedded in {embedded_folder(config.state)}"
    parts = urlsplit(config.queue.url.reveal())
    login, at, place = parts.netloc.rpartition("@")
    hidden = f"{login.partition(':')[0]}:***{at}{place}" if at else place
    return urlunsplit(parts._replace(netloc=hidden))


def connect(
    config: Config, *, patience_seconds: float = 3.0, timeout_seconds: float = 5.0
) -> redis.Redis:
    """Return a client of the queue; it connects when it is first used.

    Args:
        config: names the queue.
        patience_seconds: how long a server that is away is asked again.
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
    scheme = url.partition(":")[0]
    options: dict[str, Any] = {}
    if scheme == "rediss":
        # As registries are believed, whichever Python this is; see ``transport/``.
        options["ssl_include_verify_flags"] = [
            ssl.VERIFY_X509_TRUSTED_FIRST,
            ssl.VERIFY_X509_PARTIAL_CHAIN,
        ]
        options["ssl_exclude_verify_flags"] = [ssl.VERIFY_X509_STRICT]
    pool = HealingPool.from_url(
        url,
        socket_connect_timeout=2.0,
        socket_timeout=timeout_seconds,
        health_check_interval=30,
        retry=PatientRetry(patience_seconds),
        **options,
    )
    # Asked for by the URL, the client would take its own kind.
    pool.connection_class = _KINDS[scheme]
    if scheme == "unix":
        # The client takes names of files for UTF-8, which they need not be.
        path = unquote_to_bytes(urlsplit(url).path)
        pool.connection_kwargs["path"] = os.fsdecode(path)
    else:
        pool.connection_kwargs["socket_keepalive"] = True
    return redis.Redis.from_pool(pool)


class _TcpConnection(HealingConnection, redis.Connection):
    """A connection over TCP."""


class _TlsConnection(HealingConnection, redis.SSLConnection):
    """A connection over TLS."""


class _SocketConnection(HealingConnection, redis.UnixDomainSocketConnection):
    """A connection to a Unix socket, however long its path is."""

    def _connect(self) -> socket.socket:
        try:
            return self._connect_somehow()
        except OSError as error:
            free = free_bytes(Path(self.path).parent)
            if free is not None and free < _FULL_BYTES:
                # A server that cannot write its file ends; why is what helps.
                raise OSError(errno.ENOSPC, "disk full: make room for it") from error
            raise

    def _connect_somehow(self) -> socket.socket:
        path = Path(self.path)
        if len(os.fsencode(path)) <= _LONGEST_SOCKET_NAME:
            return self._connect_to(self.path)
        # The kernel takes any path to a folder, and a short one to what is in it.
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return self._connect_to(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)

    def _connect_to(self, name: str) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.socket_connect_timeout)
            sock.connect(name)
            sock.settimeout(self.socket_timeout)
        except BaseException:
            sock.close()
            raise
        return sock


_KINDS: Mapping[str, Any] = {
    "redis": _TcpConnection,
    "rediss": _TlsConnection,
    "unix": _SocketConnection,
}
