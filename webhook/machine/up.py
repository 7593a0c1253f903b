"""Everything on one machine: what ``cvmfs-webhook up`` does.

Queue server, receiver, workers and reconciler are processes of their own under one
supervisor; a state directory holds all that they keep.
"""

import errno
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from webhook.machine.first_start import write_first_files
from webhook.machine.supervisor import Child, Errand, Supervisor
from webhook.senders import SENDERS
from webhook.server import listening_on
from workers.config import Config, RepositoryConfig, S3Config, load_config
from workers.config.values import storage_bucket
from workers.errors import TransientError
from workers.jobqueue.embedded_server import EmbeddedServer
from workers.wiring import native_repositories

DEFAULT_STATE = Path(".state")
DEFAULT_LISTEN = "127.0.0.1:8080"
_PORT_SECONDS = 3.0


class CannotStart(TransientError):
    """Something is in the way: another instance, or a port that is taken."""


def up(
    *,
    config_path: Path | None,
    state: Path | None,
    listen: str | None,
    prepare: Callable[[Config], None],
    chore: Callable[[Config], None],
) -> None:
    """Run everything until SIGINT or SIGTERM.

    Args:
        config_path: None: the one in the state directory, made if missing.
        state: the state directory; None: the default.
        listen: instead of the configuration's.
        prepare: makes what has to be there before anything runs: repositories.
        chore: called every hour, for what has to be renewed: whitelists.

    Raises:
        CannotStart: another instance runs here, or the port is taken.
        ConfigError: the configuration is wrong.
    """
    if config_path is None:
        config_path = write_first_files(
            state or DEFAULT_STATE, listen or DEFAULT_LISTEN
        )
    path = config_path.resolve()
    os.environ["CVMFS_WEBHOOK_CONFIG"] = str(path)
    config = listening_on(load_config(path, os.environ), listen)
    config.state.mkdir(parents=True, exist_ok=True)
    with _only_one(config.state):
        _check_port(config.listen)
        prepare(config)
        supervisor = _supervisor(config, path)
        supervisor.chore = lambda: chore(config)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, supervisor.stop)
        try:
            if supervisor.server is not None:
                supervisor.server.start()
            click.echo(welcome(config))
            supervisor.watch()
        finally:
            supervisor.end()
            click.echo("Ended; everything that was accepted is kept.")


def _supervisor(config: Config, path: Path) -> Supervisor:
    supervisor = Supervisor(None)
    wait = None
    if config.queue.url is None:
        embedded = EmbeddedServer(config.state)
        supervisor.server = Child(
            "queue server",
            lambda: embedded.command,
            folder=embedded.folder,
            inherited=lambda: embedded.inherited,
            before=embedded.configure,
        )
        wait = embedded.wait_until_loaded

    def command(*verb: str) -> Callable[[], list[str]]:
        words = [sys.executable, "-m", "webhook.cli", *verb, "--config", str(path)]
        return lambda: words

    def queue_answers() -> None:
        if wait is not None:
            wait(lambda: supervisor.may_wait)

    serve = command("serve", "--listen", config.listen)
    supervisor.children = [
        Child("receiver", serve, before=queue_answers),
        *(
            Child(f"worker {number}", command("worker"), before=queue_answers)
            for number in range(1, config.workers + 1)
        ),
        Child("reconciler", command("reconcile"), before=queue_answers),
    ]
    supervisor.errands = [
        Errand(
            f"garbage collection of {repository.fqrn}",
            command(
                *("repository", "gc", repository.fqrn, "--prune"),
                *("--restorable-for", f"{repository.collect.restorable_seconds}s"),
                *("--keep-for", f"{repository.collect.keep_seconds}s"),
            ),
            repository.collect.every_seconds,
        )
        for repository in native_repositories(config)
        if repository.collect is not None
    ]
    return supervisor


@contextmanager
def _only_one(state: Path) -> Iterator[None]:
    """Hold the state directory for ourselves; the kernel lets go when we die."""
    lock = os.open(state / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotStart(
                f"another cvmfs-webhook runs on {state}: end it, or give --state DIR"
            ) from error
        yield
    finally:
        os.close(lock)


def _check_port(listen: str) -> None:
    """Find out now what would else come as a trace from the receiver.

    Raises:
        CannotStart: the port is still taken after the time in which the receiver of an
            ``up`` that was killed gives it up.
    """
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    deadline = time.monotonic() + _PORT_SECONDS
    while True:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host.strip("[]"), int(port)))
            except OSError as error:
                is_taken = error.errno == errno.EADDRINUSE
                if not is_taken or time.monotonic() > deadline:
                    raise CannotStart(
                        f"cannot listen on {listen} ({error.strerror}): "
                        "give --listen HOST:PORT"
                    ) from error
            else:
                return
        time.sleep(0.1)


def bucket_url(repository: RepositoryConfig) -> str | None:
    """Return where clients read a repository in a bucket; None for one in a folder."""
    if not repository.storage.startswith("s3://"):
        return None
    s3 = repository.s3 or S3Config()
    bucket, prefix = storage_bucket(repository.storage)
    endpoint = s3.endpoint or f"https://s3.{s3.region}.amazonaws.com"
    if s3.path_style:
        return f"{endpoint}/{bucket}/{prefix}".rstrip("/")
    if s3.endpoint is None:
        endpoint = endpoint.replace("://", f"://{bucket}.", 1)
    return f"{endpoint}/{prefix}".rstrip("/")


def welcome(config: Config) -> str:
    """Return what an operator needs to know to go on from here."""
    url = config.public_url
    lines = [f"cvmfs-webhook starts: {url}/", ""]
    if config.listen.startswith(("127.", "localhost:", "[::1]")):
        lines += [
            "Only this machine can reach it: set `listen` and `public_url` in",
            f"{config.path} before you paste these URLs elsewhere.",
            "",
        ]
    for name, source in config.sources.items():
        lines += [*SENDERS[source.kind].setup(f"{url}/hooks/{name}", source), ""]
    for repository in native_repositories(config):
        fqrn = repository.fqrn
        key = repository.keys / f"{fqrn}.pub"
        bucket = bucket_url(repository)
        lines += [
            f"Mount {fqrn}: install {key} on the client, and write into",
            f"/etc/cvmfs/config.d/{fqrn}.conf",
            f"  CVMFS_SERVER_URL={bucket or f'{url}/cvmfs/@fqrn@'}",
            "  CVMFS_HTTP_PROXY=DIRECT",
            f"  CVMFS_PUBLIC_KEY=/etc/cvmfs/keys/{fqrn}.pub",
            "",
        ]
        if bucket is not None:
            lines[-1:] = [
                "Clients read the bucket itself, it is not served from here:",
                f"everybody must be allowed to get objects under {repository.storage}/",
                "",
            ]
    lines.append(f"The policy says what is published: {config.policy}")
    if config.operator.tokens:
        lines.append(f"The operator's token: {config.operator.tokens[0].reveal()}")
    return "\n".join(lines)
