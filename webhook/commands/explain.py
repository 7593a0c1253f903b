"""``explain``: what a notification would come to, without doing it."""

import sys
from pathlib import Path

import click

from webhook.commands.frame import (
    DONE,
    FAILED,
    about,
    config_option,
    json_option,
    print_json,
    read_config,
    read_policy,
    reports_errors,
)
from webhook.intake.judging import Judgement, judge
from webhook.senders import SENDERS
from webhook.senders.notification import UnreadableNotification, read_notification
from workers.config import ConfigError
from workers.documents.quantities import iso_time


@click.command()
@click.option("--source", required=True, help="Name of a source in the configuration.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="K:V",
    help="A header that came with it; none of the present kinds needs any.",
)
@click.argument(
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
)
@json_option
@config_option
@reports_errors
def explain(
    source: str,
    headers: tuple[str, ...],
    file: Path,
    *,
    as_json: bool,
    config_path: Path | None,
) -> int:
    """Show how the notification in FILE, or `-`, would be normalised and decided.

    It is neither authenticated nor acted upon.
    """
    config = read_config(config_path)
    for header in headers:
        if ":" not in header:
            raise click.BadParameter(
                f"{header!r} is not NAME:VALUE", param_hint="--header"
            )
    if source not in config.sources:
        known = ", ".join(config.sources) or "none"
        raise ConfigError((f"sources.{source}: not configured; there is {known}",))
    sender = config.sources[source]
    policy = read_policy(config).current()
    try:
        events = read_notification(
            _read(file), SENDERS[sender.kind], sender, config.limits
        )
    except UnreadableNotification as error:
        click.echo(f"error: {file}: {error}", err=True)
        return FAILED
    judgements = [judge(event, policy) for event in events]
    if as_json:
        print_json({"events": [_event_json(judgement) for judgement in judgements]})
        return DONE
    for judgement in judgements:
        said = about(judgement.name or "no image", judgement.reason)
        click.echo(f"{judgement.verdict}: {said}")
    return DONE


def _read(file: Path) -> bytes:
    return sys.stdin.buffer.read() if file == Path("-") else file.read_bytes()


def _event_json(judgement: Judgement) -> dict[str, object]:
    event = judgement.event
    return {
        "reference": judgement.name,
        "registry": event.registry,
        "repository": event.repository,
        "tag": event.tag,
        "digest": event.digest,
        "action": event.action,
        "event_id": event.event_id,
        "actor": event.actor,
        "time": iso_time(event.time),
        "decision": judgement.verdict.value,
        "reason": judgement.reason,
    }
