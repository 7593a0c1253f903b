"""The receiver under gunicorn.

Threads, because a request waits for one sync of the queue's disk and for nothing else;
two processes, so that one slow page never holds up a notification. The access log stays
off: Docker Hub's secret is in the path. We log a line of our own for each notification.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.workers.gthread import ThreadWorker

from webhook.afterwards import Afterwards
from webhook.app import create_app
from workers.config import Config, ConfigError
from workers.config_values import BadValue, listen_address
from workers.jobqueue import JobQueue
from workers.ledger import Ledger
from workers.policy import PolicyFile
from workers.queue_server import connect

_PROCESSES = 2
_THREADS = 32
_PEER_SECONDS = 10.0


class _Threads(ThreadWorker):
    """Gunicorn's threads, of which none waits for ever for one peer."""

    def handle(self, conn: Any) -> Any:
        """Serve one connection; each read and write of it may take so long."""
        conn.sock.settimeout(_PEER_SECONDS)
        return super().handle(conn)


class _Server(BaseApplication):
    """Gunicorn, told everything here and nothing by a file or the environment."""

    def __init__(self, config: Config) -> None:
        self._config = config
        super().__init__()

    def load_config(self) -> None:
        settings: dict[str, Any] = {
            "bind": [self._config.listen],
            "proc_name": "cvmfs-webhook",
            "worker_class": _Threads,
            "workers": _PROCESSES,
            "threads": _THREADS,
            "keepalive": 15,
            "timeout": 60,
            "graceful_timeout": 5,
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
        connection = connect(self._config)
        queue = JobQueue(connection)
        return create_app(
            self._config,
            Ledger(connection),
            queue,
            PolicyFile(self._config.policy),
            carrier=Afterwards(queue),
        )


def run_server(config: Config) -> None:
    """Serve until told to stop."""
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
