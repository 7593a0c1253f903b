"""Everything on one machine: what ``cvmfs-webhook up`` does.

Queue server, receiver, workers and reconciler are processes of their own under one
supervisor; a state directory holds all that they keep.
"""

import errno
import fcntl
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from webhook.machine.first_start import FIRST_CONFIG, write_first_files
from webhook.machine.setup import reach_lines, setup_lines
from webhook.machine.supervisor import Child, Errand, Supervisor
from webhook.server import listening_on
from workers.config import Config, ConfigError, load_config
from workers.documents.whole_file import make_private_folder
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
        state: the state directory; None: the configuration's, or else the default.
        listen: instead of the configuration's.
        prepare: makes what has to be there before anything runs: repositories.
        chore: called every hour, for what has to be renewed: whitelists.

    Raises:
        CannotStart: another instance runs here, or the port is taken.
        WorkerError: what has to be there cannot be made, or must not.
        ConfigError: the configuration is wrong, or has another state directory.
    """
    is_first = False
    if config_path is None:
        state = state or DEFAULT_STATE
        is_first = not (state / FIRST_CONFIG).exists()
        config_path = write_first_files(state, listen or DEFAULT_LISTEN)
    path = config_path.resolve()
    os.environ["CVMFS_WEBHOOK_CONFIG"] = str(path)
    config = listening_on(load_config(path, os.environ), listen)
    if state is not None and state.resolve() != config.state.resolve():
        mend = "leave out --state, or say the same in the configuration"
        said = f"state: is {config.state}, and --state is {state}: {mend}"
        raise ConfigError((said,), path)
    make_private_folder(config.state)
    with _only_one(config.state):
        _check_port(config)
        supervisor = _supervisor(config, path)
        supervisor.chore = lambda: chore(config)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, supervisor.stop)
        try:
            if supervisor.server is not None:
                supervisor.server.start()
            # The ledger knows of repositories that are missed. A server that does not
            # answer is seen to with each child.
            with suppress(TransientError):
                supervisor.children[0].before()
            prepare(config)
            click.echo(welcome(config, is_first=is_first))
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


def _check_port(config: Config) -> None:
    """Find out now what would else come as a trace from the receiver.

    Raises:
        CannotStart: the port is still taken after the time in which the receiver of an
            ``up`` that was killed gives it up.
    """
    listen = config.listen
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
                        f"cannot listen on {listen} ({error.strerror}): give --listen"
                        " HOST:PORT (`make up LISTEN=HOST:PORT`), or set `listen` in"
                        f" {config.path}"
                    ) from error
            else:
                return
        time.sleep(0.1)


def welcome(config: Config, *, is_first: bool) -> str:
    """Return what is printed at a start; secrets at the first one only.

    Args:
        config: in force.
        is_first: the configuration was made a moment ago, and nobody knows it yet.
    """
    if is_first:
        return "\n".join(setup_lines(config))
    words = ["cvmfs-webhook", "show-setup", "--config", str(config.path)]
    return "\n".join(
        [
            *reach_lines(config),
            "What to paste into registries and clients, and the operator's token:",
            f"  {shlex.join(words)}",
        ]
    )
