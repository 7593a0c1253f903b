"""The receiver for tests: in this process, and as a server of its own."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
import requests
from flask import Flask

from webhook.app import create_app
from workers.config import load_config
from workers.jobqueue import JobQueue
from workers.jobqueue.connection import connect
from workers.jobqueue.embedded_server import free_port
from workers.ledger import Ledger
from workers.policy import PolicyFile

DEADLINE_SECONDS = 30.0
CONFIG = """\
queue: {{url: "{redis_url}"}}
sources:
  hub: {{kind: dockerhub, secret: [s3cret, next-secret]}}
  local: {{kind: distribution, registry: registry.example, secret: s3cret}}
  lab: {{kind: gitlab, registry: registry.example, secret: schlüssel}}
  "off": {{kind: dockerhub, secret: s3cret, enabled: false}}
"""
POLICY = """\
version: 1
rules:
  - allow: docker.io/acme/*
  - allow: registry.example/team/**
"""


@dataclass(frozen=True)
class Receiver:
    """An application with the real parts behind it."""

    app: Flask
    ledger: Ledger
    queue: JobQueue
    connection: redis.Redis


def write_config(folder: Path, redis_url: str) -> Path:
    """Write a configuration and a policy; return the configuration's path."""
    (folder / "policy.yaml").write_text(POLICY)
    path = folder / "config.yaml"
    path.write_text(CONFIG.format(redis_url=redis_url))
    return path


def open_receiver(path: Path) -> Receiver:
    config = load_config(path, {})
    connection = connect(config)
    ledger, queue = Ledger(connection), JobQueue(connection)
    app = create_app(config, ledger, queue, PolicyFile(config.policy))
    return Receiver(app, ledger, queue, connection)


@contextmanager
def served(path: Path, log: Path) -> Iterator[int]:
    """Run the receiver as an operator does, its output into ``log``; give its port."""
    port = free_port()
    command = [sys.executable, "-m", "webhook.cli", "serve", "--config", str(path)]
    command += ["--listen", f"127.0.0.1:{port}"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not _answers(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE_SECONDS)


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=10).ok
    except requests.ConnectionError:
        return False
