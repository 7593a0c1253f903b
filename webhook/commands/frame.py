"""What every command does alike: configuration, JSON, one-line errors, exit codes."""

import functools
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import ParamSpec, overload

import click

from webhook.machine.first_start import FIRST_CONFIG
from webhook.machine.up import DEFAULT_STATE
from workers.config import Config, ConfigError, load_config
from workers.cvmfs import FormatError, RepositoryBusy
from workers.documents.quantities import BadQuantity, parse_duration
from workers.errors import Hindrance, PermanentError, TransientError, WorkerError
from workers.policy import PolicyError, PolicyFile, load_policy
from workers.reference import InvalidReference
from workers.wiring import NoSuchRepository, NotNative

P = ParamSpec("P")

DONE, FAILED, USAGE, REFUSED, LATER = range(5)
_USAGE_ERRORS = (
    ConfigError,
    PolicyError,
    InvalidReference,
    NoSuchRepository,
    NotNative,
)

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="CVMFS_WEBHOOK_CONFIG",
    help="The configuration file.  [env: CVMFS_WEBHOOK_CONFIG]",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for scripts."
)


name_option = click.option(
    "--name", help="The repository's name once more, where it would be asked for."
)


class NotConfirmed(PermanentError):
    """Something for which the operator's word is needed, and was not given."""


class Duration(click.ParamType[int]):
    """``45s``, ``15m``, ``12h``, ``30d`` or ``2w``, as seconds."""

    name = "duration"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Return the seconds; says what is wrong as click does."""
        try:
            return value if isinstance(value, int) else parse_duration(str(value))
        except BadQuantity as error:
            self.fail(str(error), param, ctx)


def read_config(path: Path | None) -> Config:
    """Read the configuration that a command was pointed at.

    Raises:
        ConfigError: there is none, or with all that is wrong with it.
    """
    if path is None:
        path = DEFAULT_STATE / FIRST_CONFIG
        if not path.exists():
            where = f"there is no {path} here, where `up` writes it by default"
            mend = "give --config FILE or set CVMFS_WEBHOOK_CONFIG"
            raise ConfigError((f"no configuration: {where}; {mend}",))
    return load_config(path.resolve(), os.environ)


def read_policy(config: Config) -> PolicyFile:
    """Read the policy file for a command that answers once, and then ends.

    Raises:
        PolicyError: the file as it is now cannot be used.
    """
    # Its answer says all; what is logged besides would say it twice.
    logging.getLogger().addHandler(logging.NullHandler())
    load_policy(config.policy)
    return PolicyFile(config.policy)


def confirm_name(fqrn: str, given: str | None, why: str) -> None:
    """Go on only if the operator has named the repository that is at stake.

    Args:
        fqrn: of the repository.
        given: by ``--name``; None: it is asked for.
        why: what is at stake, in one line.

    Raises:
        NotConfirmed: it was another name, or none.
    """
    if given is None:
        click.echo(why, err=True)
        try:
            given = click.prompt("Type the repository's name to go on", err=True)
        except click.Abort:
            given = ""
    if given != fqrn:
        raise NotConfirmed(f"{why}; nothing was done: give --name {fqrn} to go on")


def lead_jobs_to(config: Config) -> None:
    """Let this process's children and jobs find the configuration that it found."""
    os.environ["CVMFS_WEBHOOK_CONFIG"] = str(config.path)


def start_logging(config: Config) -> None:
    """Log to standard output, a line each."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        _ZonedFormatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    )
    logging.basicConfig(level=config.log_level, handlers=[handler])


class _ZonedFormatter(logging.Formatter):
    """Says of each time in which zone it is: logs of several machines are compared."""

    def formatTime(  # noqa: N802 - the library's name
        self, record: logging.LogRecord, _format: str | None = None
    ) -> str:
        moment = datetime.fromtimestamp(record.created).astimezone()
        return moment.isoformat(timespec="milliseconds")


def about(name: str, text: str) -> str:
    """Return a text about something, with its name, which is not said twice."""
    if text.startswith(f"{name}: "):
        return text
    return f"{name}: {text}"


@overload
def local_time(seconds: float) -> str: ...
@overload
def local_time(seconds: float | None) -> str | None: ...
def local_time(seconds: float | None) -> str | None:
    """Return a time as people at this machine read it, with its zone."""
    if seconds is None:
        return None
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(seconds))


def print_json(value: object) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False))


def reports_errors(command: Callable[P, int | None]) -> Callable[P, None]:
    """End a command with the exit code of what happened, and a line that says it."""

    @functools.wraps(command)
    def framed(*arguments: P.args, **named: P.kwargs) -> None:
        try:
            code = command(*arguments, **named)
        except _USAGE_ERRORS as error:
            _complain(error, USAGE)
        except Hindrance as error:
            _complain(error, FAILED)
        except TransientError as error:
            _complain(error, LATER)
        except BrokenPipeError:
            # Whoever read our output has seen enough; nor is there anybody to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(FAILED)
        except OSError as error:
            name = f"{error.filename}: " if error.filename is not None else ""
            _complain(f"{name}{error.strerror or error}", FAILED)
        except WorkerError as error:
            _complain(error, FAILED)
        except FormatError as error:
            code = LATER if isinstance(error, RepositoryBusy) else FAILED
            _complain(_of_repository(str(named.get("fqrn") or ""), error), code)
        else:
            sys.exit(code or DONE)

    return framed


def _of_repository(fqrn: str, error: FormatError) -> str:
    """Say an error of the library with the repository: it knows files and folders."""
    said = str(error)
    return said if fqrn in said.partition(": ")[0] else about(fqrn, said)


def _complain(error: Exception | str, code: int) -> None:
    for line in (str(error) or type(error).__name__).splitlines():
        click.echo(f"error: {line}", err=True)
    sys.exit(code)
