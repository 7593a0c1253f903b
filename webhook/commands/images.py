"""``publish`` and ``status``: ask for an image, see how it stands."""

import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import click

from webhook.commands.frame import (
    DONE,
    FAILED,
    LATER,
    REFUSED,
    about,
    config_option,
    json_option,
    local_time,
    print_json,
    read_config,
    read_policy,
    reports_errors,
)
from webhook.commands.progress_line import ProgressLine
from webhook.intake.intake import NotKept
from webhook.intake.requests import PublishRequests
from webhook.reconcile.remaking import count_outdated
from webhook.web.image_json import cvmfs_places, image_json, live_json, run_json
from workers.care.queue_standing import NO_WORKER, QueueStanding, check_workers
from workers.config import Config
from workers.formats.formats import uses
from workers.ledger import ImageRecord, Ledger, LiveRecord, Outcome, State
from workers.reference import Reference
from workers.wiring import Front

_POLL_SECONDS = 0.2
_DIGEST_WIDTH = 19  # sha256: and twelve digits


@click.command()
@click.argument("reference")
@click.option("--wait", is_flag=True, help="Return when it is live, or has failed.")
@click.option("--force", is_flag=True, help="Rebuild it even if it is unchanged.")
@json_option
@config_option
@reports_errors
def publish(
    reference: str, *, wait: bool, force: bool, as_json: bool, config_path: Path | None
) -> int:
    """Publish REFERENCE by hand, through the same policy and queue as a push.

    Ends with 4 where it could be lost, or where no worker is alive to do it.
    """
    config = read_config(config_path)
    parsed = Reference.parse(reference)
    with Front.open(config) as front:
        policy = read_policy(config)
        requests = PublishRequests(policy, front.ledger, front.queue)
        standing = QueueStanding.of(config, front, policy)
        problem = standing.problem()
        if problem is not None:
            raise NotKept(f"nothing was asked for: {problem}")
        before = front.ledger.image(str(parsed))
        decision = requests.submit(parsed, forced=force)
        if not decision.allowed:
            if as_json:
                print_json(
                    {
                        "reference": str(parsed),
                        "decision": "refused",
                        "reason": decision.reason,
                    }
                )
            else:
                said = about(str(parsed), decision.reason)
                click.echo(f"refused: {said}", err=True)
            return REFUSED
        is_alone = not front.queue.workers()
        for line in (*(NO_WORKER,) * is_alone, *standing.warnings().values()):
            click.echo(f"warning: {line}", err=True)
        if not wait:
            if as_json:
                print_json({"reference": str(parsed), "decision": "queued"})
            else:
                click.echo(f"queued: {parsed}")
            return LATER if is_alone else DONE
        return _wait(config, front.ledger, parsed, before, as_json=as_json)


def _wait(
    config: Config,
    ledger: Ledger,
    reference: Reference,
    before: ImageRecord | None,
    *,
    as_json: bool,
) -> int:
    """Follow an image until it is live, or why it is not."""
    asked = ledger.image(str(reference))
    number = asked.requested if asked else (before.requested if before else 0)
    image = follow(ledger, reference, number, as_json=as_json)
    if image is None:
        click.echo(f"error: {reference} was removed meanwhile", err=True)
        return FAILED
    if as_json:
        print_json(image_json(image, ttls(config)))
    elif image.state is State.LIVE:
        for use in islice(uses(cvmfs_places(image)), 1):
            click.echo(use.text)
    if image.state is State.LIVE:
        return DONE
    return REFUSED if image.state is State.REFUSED else FAILED


def follow(
    ledger: Ledger, reference: Reference, number: int, *, as_json: bool
) -> ImageRecord | None:
    """Wait until a request has been answered; say how it goes, and how it ended.

    On a terminal one line shows how far it is; elsewhere each state is a line.

    Returns:
        The record then; None when it has been forgotten.

    Raises:
        NoWorker: nobody looks after it.
    """
    bar = ProgressLine()
    shown = None
    while True:
        image = ledger.image(str(reference))
        is_over = image is None or (image.done >= number and not image.is_running)
        if not as_json and image is not None and not is_over:
            seen = (_at_work(image), image.next_try)
            if seen != shown and (image.next_try is not None or not bar.is_seen):
                bar.clear()
                click.echo(_line(image, _at_work(image)))
            shown = seen
            bar.show(_line(image, _at_work(image)))
        if image is None or is_over:
            bar.clear()
            if not as_json and image is not None:
                click.echo(_ended(image))
            return image
        if not image.is_running:
            check_workers(ledger)
        time.sleep(_POLL_SECONDS)


def _ended(image: ImageRecord) -> str:
    """Say how the last run ended, and what is live since."""
    run = image.last_run
    if run is None or run.outcome is None:
        return _line(image)
    digest = (image.live_digest or run.digest or "")[:_DIGEST_WIDTH]
    parts = [f"{run.outcome:11}{image.reference}", digest]
    if run.outcome is Outcome.PUBLISHED and image.revision is not None:
        parts.append(f"revision {image.revision}")
    if run.ended is not None:
        parts.append(f"{run.ended - run.started:.1f} s")
    return "  ".join(part for part in (*parts, run.reason) if part)


@click.command()
@click.argument("reference", required=False)
@click.option(
    "--state",
    "state_name",
    type=click.Choice([state.value for state in State]),
    help="Only those in this state.",
)
@click.option("--watch", is_flag=True, help="Then say each change, until Ctrl-C.")
@json_option
@config_option
@reports_errors
def status(
    reference: str | None,
    *,
    state_name: str | None,
    watch: bool,
    as_json: bool,
    config_path: Path | None,
) -> int:
    """Show how all images stand, or one REFERENCE with its history."""
    state = None if state_name is None else State(state_name)
    config = read_config(config_path)
    with Front.open(config) as front:
        name = None if reference is None else str(Reference.parse(reference))
        if watch:
            return _watch(config, front.ledger, name, state, as_json=as_json)
        if name is None:
            return _show_all(config, front.ledger, state, as_json=as_json)
        image = front.ledger.image(name)
        if image is None:
            click.echo(f"error: {name} was never pushed or asked for", err=True)
            return FAILED
        runs = front.ledger.runs(name, 10)
        lives = front.ledger.lives(name)
    if as_json:
        shown = image_json(image, ttls(config))
        shown["runs"] = [run_json(run) for run in runs]
        shown["lives"] = [live_json(live) for live in lives]
        print_json(shown)
        return DONE
    click.echo(_line(image))
    facts = {
        "digest": image.digest,
        "live digest": image.live_digest,
        "revision": image.revision,
        **cvmfs_places(image),
        "since": local_time(image.since),
    }
    for name, value in facts.items():
        if value is not None:
            click.echo(f"  {name + ':':13}{value}")
    for note in image.notes:
        click.echo(f"  {'note:':13}{note}")
    for line in _lives_lines(lives):
        click.echo(f"  {line}")
    for run in runs:
        seconds = (run.ended or time.time()) - run.started
        outcome = run.outcome or "running"
        click.echo(
            f"  {local_time(run.started)}  {outcome:11} {seconds:6.1f} s  "
            f"{run.source}  {run.reason or ''}".rstrip()
        )
    return DONE


def _lives_lines(lives: list[LiveRecord]) -> Iterator[str]:
    """Yield a line for each digest that was live, newest first."""
    until = "now"
    for live in lives:
        since = local_time(live.since)
        if live.digest is not None:
            where = f"  revision {live.revision}" if live.revision is not None else ""
            digest = live.digest[:_DIGEST_WIDTH]
            yield f"live {since} to {until:25}  {digest}{where}"
        until = since


def _watch(
    config: Config,
    ledger: Ledger,
    name: str | None,
    state: State | None,
    *,
    as_json: bool,
) -> int:
    """Say how images stand, and then each change of one, as a line."""
    last = ledger.events(limit=1)
    after = last[-1].id if last else "0-0"
    now = _all(ledger, state) if name is None else ledger.records([name])
    shown: dict[str, str] = {}
    while True:
        for image in now:
            line = _line(image)
            if state in {None, image.state} and shown.get(image.reference) != line:
                said = json.dumps(image_json(image, ttls(config)), ensure_ascii=False)
                click.echo(said if as_json else line)
            shown[image.reference] = line
        time.sleep(_POLL_SECONDS)
        events = ledger.events(after)
        after = events[-1].id if events else after
        changed = {
            event.reference for event in events if name in {None, event.reference}
        }
        now = ledger.records(sorted(changed))


def _all(ledger: Ledger, state: State | None) -> list[ImageRecord]:
    images: list[ImageRecord] = []
    while True:
        page = ledger.images(len(images), 500, state=state)
        images += page.images
        if len(images) >= page.total or not page.images:
            return images


def _show_all(
    config: Config, ledger: Ledger, state: State | None, *, as_json: bool
) -> int:
    images = _all(ledger, state)
    if as_json:
        print_json([image_json(image, ttls(config)) for image in images])
        return DONE
    for image in images:
        click.echo(_line(image))
    if (outdated := count_outdated(images)) is not None:
        click.echo(outdated)
    if not images:
        none = "No image was pushed yet." if state is None else f"No image is {state}."
        click.echo(none)
    return DONE


def _at_work(image: ImageRecord) -> str:
    """Return what is done for an image, be an earlier digest live or not."""
    is_busy = image.is_running and not image.state.is_stage
    return "running" if is_busy else image.state


def _line(image: ImageRecord, state: str | None = None) -> str:
    line = f"{state or image.state:11}{image.reference}"
    if digest := (image.live_digest or image.digest or "")[:_DIGEST_WIDTH]:
        line += f"  {digest}"
    progress = image.progress
    if image.is_running and progress is not None and progress.bytes_total:
        done = 100 * progress.bytes_done // progress.bytes_total
        line += f"  {done} %, {progress.layers_done} of {progress.layers_total} layers"
    if image.reason:
        line += f"  {image.reason}"
    if image.next_try is not None and not image.is_running:
        line += f"  next try {local_time(image.next_try)}"
    return line


def ttls(config: Config) -> dict[str, int]:
    """Return the TTL of each repository."""
    return {fqrn: repository.ttl for fqrn, repository in config.repositories.items()}
