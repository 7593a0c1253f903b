"""``retry``, ``replay``, ``cancel``, ``remove``, ``restore``: the operator's word."""

from dataclasses import asdict
from pathlib import Path

import click

from webhook.commands.frame import (
    DONE,
    FAILED,
    REFUSED,
    USAGE,
    config_option,
    json_option,
    print_json,
    read_config,
    read_policy,
    reports_errors,
)
from webhook.commands.images import follow, ttls
from webhook.intake.intake import Intake, durability_check
from webhook.intake.requests import PublishRequests
from webhook.web.image_json import image_json
from workers.ledger import Outcome, State, Verdict
from workers.policy import PolicyFile
from workers.reference import Reference, parse_registry
from workers.wiring import Front

_wait_option = click.option("--wait", is_flag=True, help="Return when it is done.")


@click.command()
@click.argument("reference", required=False)
@click.option("--failed", is_flag=True, help="All that failed, instead of REFERENCE.")
@click.option("--registry", metavar="HOST", help="Only what is of this registry.")
@_wait_option
@json_option
@config_option
@reports_errors
def retry(
    reference: str | None,
    *,
    failed: bool,
    registry: str | None,
    wait: bool,
    as_json: bool,
    config_path: Path | None,
) -> int:
    """Try again at once what failed or was refused: REFERENCE, or all that failed.

    What was cancelled is tried again only by its name.
    """
    if (reference is None) != failed:
        click.echo("error: give either REFERENCE or --failed", err=True)
        return USAGE
    if (registry and not failed) or (wait and failed):
        click.echo("error: --registry goes with --failed, --wait does not", err=True)
        return USAGE
    config = read_config(config_path)
    with Front.open(config) as front:
        requests = PublishRequests(read_policy(config), front.ledger, front.queue)
        if reference is None:
            host = None if registry is None else parse_registry(registry)
            return _say_retried(requests.retry_failed(host), as_json=as_json)
        parsed = Reference.parse(reference)
        wish = requests.retry(parsed)
        if wish.verdict is Verdict.REFUSED:
            click.echo(f"refused: {wish.reason}", err=True)
            return REFUSED
        if wish.verdict is Verdict.IGNORED:
            if as_json:
                print_json({"reference": str(parsed), "decision": wish.verdict})
            else:
                click.echo(wish.reason)
            return DONE
        if not wait:
            _say_queued(parsed, "retry", as_json=as_json)
            return DONE
        image = follow(front.ledger, parsed, wish.number, as_json=as_json)
    if as_json:
        forgotten = {"reference": str(parsed), "state": None}
        print_json(forgotten if image is None else image_json(image, ttls(config)))
    if image is None or image.state in {State.LIVE, State.REMOVED}:
        return DONE
    return REFUSED if image.state is State.REFUSED else FAILED


def _say_retried(names: list[str], *, as_json: bool) -> int:
    if as_json:
        print_json({"queued": names})
    for name in () if as_json else names:
        click.echo(f"queued: retry {name}")
    if not names and not as_json:
        click.echo("nothing to retry: nothing has failed that is allowed")
    return DONE


@click.command()
@click.argument("delivery")
@json_option
@config_option
@reports_errors
def replay(delivery: str, *, as_json: bool, config_path: Path | None) -> int:
    """Decide again about the images of DELIVERY, by the policy as it is now.

    What the registry has now is looked at, which may be newer than what was told then.
    """
    config = read_config(config_path)
    with Front.open(config) as front:
        found = front.ledger.delivery(delivery)
        if found is None:
            click.echo(f"error: no delivery {delivery!r} is kept", err=True)
            return FAILED
        is_trusted = config.queue.durability == "trusted"
        intake = Intake(
            front.ledger,
            front.queue,
            read_policy(config),
            durability=durability_check(front.ledger, is_trusted=is_trusted),
        )
        answer = intake.replay(found)
    images = [asdict(image) for image in answer.images]
    if as_json:
        print_json({"delivery": answer.id, "images": images})
    for image in () if as_json else answer.images:
        click.echo(f"{image.decision}: {image.reference}: {image.reason}")
    if not images and not as_json:
        click.echo(f"delivery {delivery} names no image with a tag")
    decisions = {image.decision for image in answer.images}
    return REFUSED if decisions == {Verdict.REFUSED} else DONE


@click.command()
@click.argument("reference")
@json_option
@config_option
@reports_errors
def cancel(reference: str, *, as_json: bool, config_path: Path | None) -> int:
    """Stop what is done for REFERENCE, or what waits; the next push asks for it again.

    A run that is under way ends within seconds. What is live stays live.
    """
    config = read_config(config_path)
    parsed = Reference.parse(reference)
    with Front.open(config) as front:
        requests = PublishRequests(PolicyFile(config.policy), front.ledger, front.queue)
        was_owed = requests.cancel(parsed)
    if as_json:
        print_json({"reference": str(parsed), "cancelled": was_owed})
    else:
        click.echo(f"cancelled: {parsed}" if was_owed else _nothing_owed(parsed))
    return DONE


def _nothing_owed(reference: Reference) -> str:
    return f"nothing is done for {reference}, and nothing waits"


@click.command()
@click.argument("reference")
@_wait_option
@json_option
@config_option
@reports_errors
def remove(
    reference: str, *, wait: bool, as_json: bool, config_path: Path | None
) -> int:
    """Remove REFERENCE from the repository; the next push publishes it again.

    Layers and file systems stay: other names may lead to them. A name that never was
    live is forgotten.
    """
    config = read_config(config_path)
    parsed = Reference.parse(reference)
    with Front.open(config) as front:
        requests = PublishRequests(PolicyFile(config.policy), front.ledger, front.queue)
        number = requests.remove(parsed).number
        if not wait:
            _say_queued(parsed, "remove", as_json=as_json)
            return DONE
        image = follow(front.ledger, parsed, number, as_json=as_json)
    if as_json:
        forgotten = {"reference": str(parsed), "state": None}
        print_json(forgotten if image is None else image_json(image, ttls(config)))
    if image is None:
        return DONE
    return DONE if image.state is State.REMOVED else FAILED


@click.command()
@click.argument("reference")
@click.argument("digest", required=False)
@click.option("--previous", is_flag=True, help="Back to the one that was live before.")
@_wait_option
@json_option
@config_option
@reports_errors
def restore(
    reference: str,
    digest: str | None,
    *,
    previous: bool,
    wait: bool,
    as_json: bool,
    config_path: Path | None,
) -> int:
    """Publish DIGEST, which was live before, under REFERENCE again.

    The beginning of a digest is enough. It stays until something new is pushed;
    `publish --force` goes back to what the registry has.
    """
    if (digest is None) != previous:
        click.echo("error: give either DIGEST or --previous", err=True)
        return USAGE
    config = read_config(config_path)
    parsed = Reference.parse(reference)
    with Front.open(config) as front:
        policy = read_policy(config)
        requests = PublishRequests(policy, front.ledger, front.queue)
        wish = requests.restore(parsed, digest)
        if not wish.decision.allowed:
            click.echo(f"refused: {wish.decision.reason}", err=True)
            return REFUSED
        if not wait:
            _say_queued(parsed, "restore", as_json=as_json, digest=wish.digest)
            return DONE
        image = follow(front.ledger, parsed, wish.number, as_json=as_json)
    if image is None:
        click.echo(f"error: {parsed} was removed meanwhile", err=True)
        return FAILED
    if as_json:
        print_json(image_json(image, ttls(config)))
    if image.live_digest == wish.digest:
        return DONE
    run = image.last_run
    if run is not None and run.reason and not as_json:
        click.echo(f"error: {run.reason}", err=True)
    return REFUSED if run is not None and run.outcome is Outcome.REFUSED else FAILED


def _say_queued(
    reference: Reference, verb: str, *, as_json: bool, digest: str | None = None
) -> None:
    if as_json:
        answer = {"reference": str(reference), "decision": "queued", "order": verb}
        print_json(answer if digest is None else {**answer, "digest": digest})
    else:
        what = "" if digest is None else f" to {digest}"
        click.echo(f"queued: {verb} {reference}{what}")
