"""The receiver under gunicorn.

Gunicorn keeps the processes; connections are looked after in ``wire/``, where nobody
who is slow costs a thread. Threads, because a request waits for one sync of the queue's
disk and for nothing else; two processes, so that one slow page never holds up a
notification. The access log stays off: Docker Hub's secret is in the path. We log a
line of our own for each notification.
"""

import contextlib
import ctypes
import gc
import os
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.workers.base import Worker

from webhook.app import create_app
from webhook.intake.deferred_queue import DeferredQueue
from webhook.web import hooks
from webhook.web.path_prefix import PathPrefix
from webhook.web.proxies import TrustedProxies
from webhook.wire import HttpServer, PeerLimits, RequestHead, RequestPolicy, WsgiRunner
from workers.config import Config, ConfigError
from workers.config.values import BadValue, listen_address
from workers.policy import PolicyFile
from workers.wiring import Front

_PROCESSES = 2
# They wait for the queue's disk most of the time; more of them would only stand in
# each other's way.
_URGENT_THREADS = 16
_OTHER_THREADS = 8
_GRACE_SECONDS = 5
# Of pages and steering verbs; each route has its own bound below this.
_PAGE_BODY_BYTES = 65_536
# First components of the routes that slow pages must not hold up.
_URGENT = frozenset({"hooks"})
_PROBES = frozenset({"healthz", "readyz"})
_M_MMAP_THRESHOLD = -3  # malloc.h
_LARGE_BLOCK_BYTES = 1024 * 1024
# Connections, files being sent over them, and what Python has open.
_OPEN_FILES = 4096


class _Worker(Worker):
    """One process: gunicorn starts and watches it."""

    app: "_Server"

    def run(self) -> None:
        """Answer until told to stop."""
        # All that was loaded stays; looking through it for cycles stops every thread
        # for some 70 ms, once in some thousand notifications.
        gc.collect()
        gc.freeze()
        _give_large_blocks_back()
        server = HttpServer(
            self.sockets,
            WsgiRunner(self.cfg, self.wsgi),
            self.app.policy,
            self.app.peer_limits,
            urgent_threads=_URGENT_THREADS,
            other_threads=_OTHER_THREADS,
        )
        server.run(self._is_wanted, wake=self.PIPE[0], grace_seconds=_GRACE_SECONDS)
        self.app.close()

    def _is_wanted(self) -> bool:
        self.notify()
        return self.alive and self.ppid == os.getppid()


class _Server(BaseApplication):
    """Gunicorn, told everything here and nothing by a file or the environment."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._deferred: DeferredQueue | None = None
        self.policy = policy(config)
        self.peer_limits = PeerLimits(idle_seconds=config.keep_alive_seconds)
        super().__init__()

    def load_config(self) -> None:
        settings: dict[str, Any] = {
            "bind": [self._config.listen],
            "proc_name": "cvmfs-webhook",
            "worker_class": _Worker,
            "workers": _PROCESSES,
            "timeout": 60,
            # Ours ends by itself; gunicorn's patience must be the longer one.
            "graceful_timeout": 2 * _GRACE_SECONDS,
            "accesslog": None,
            "errorlog": "-",
            "loglevel": "warning",
            "control_socket_disable": True,
            # Who asks is who connects; a proxy in front is the operator's to trust.
            "forwarded_allow_ips": "",
        }
        shared_memory = Path("/dev/shm")  # noqa: S108 - a heartbeat file must not block
        if os.access(shared_memory, os.W_OK):
            settings["worker_tmp_dir"] = str(shared_memory)
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Connect and build the application, in each process after its fork."""
        front = Front.open(self._config)
        self._deferred = DeferredQueue(front.queue)
        policy = PolicyFile(self._config.policy)
        return create_app(self._config, front, policy, carrier=self._deferred)

    def close(self) -> None:
        """Enqueue the jobs accepted last, for at most a few seconds.

        What is left after that is not lost: the workers' sweep enqueues it.
        """
        if self._deferred is not None:
            self._deferred.close()


def _give_large_blocks_back() -> None:
    """Have the memory of a large notification go back when it is answered.

    The GNU C library otherwise keeps freed blocks of up to 32 MiB for each thread that
    ever had one. Others have no such call, and need none.

    Source: mallopt(3), M_MMAP_THRESHOLD.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)


def policy(config: Config) -> RequestPolicy:
    """Return what is decided of a request before its body is there."""
    prefix = PathPrefix(config.public_url)
    proxies = TrustedProxies(config.trusted_proxies)

    def path_of(head: RequestHead) -> str:
        return prefix.below(head.path, _URGENT | _PROBES)

    def body_bytes(head: RequestHead) -> int:
        path = path_of(head)
        known = hooks.body_bytes(config.sources, config.limits, path, head.headers)
        return _PAGE_BODY_BYTES if known is None else known

    def is_urgent(head: RequestHead) -> bool:
        return path_of(head).lstrip("/").partition("/")[0] in _URGENT

    def is_probe(head: RequestHead) -> bool:
        return path_of(head).strip("/") in _PROBES

    def client(peer: str, head: RequestHead) -> str:
        return proxies.client(peer, head.headers.get("x-forwarded-for", ""))

    return RequestPolicy(body_bytes, is_urgent, is_probe, client)


def run_server(config: Config) -> None:
    """Serve until told to stop."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    _Server(config).run()


def listening_on(config: Config, listen: str | None) -> Config:
    """Return the configuration with another address to listen on, if one is given."""
    if listen is None or listen == config.listen:
        return config
    try:
        listen_address(listen)
    except BadValue as error:
        raise ConfigError((f"--listen: {error}",)) from error
    is_default = config.public_url == f"http://{config.listen}"
    public_url = f"http://{listen}" if is_default else config.public_url
    return replace(config, listen=listen, public_url=public_url)
