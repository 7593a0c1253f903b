"""``policy check`` and ``policy explain``: is the file right, and what does it say?"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import click

from webhook.commands.frame import (
    DONE,
    REFUSED,
    USAGE,
    about,
    config_option,
    json_option,
    print_json,
    read_config,
    reports_errors,
)
from workers.config import RepositoryConfig
from workers.formats.formats import formats_named
from workers.policy import NoTarget, Policy, load_policy, target_repository
from workers.policy.advice import advice
from workers.reference import DOCKER_HUB, Reference


@click.group()
def policy() -> None:
    """Validate the namespace policy, and see which rule decides."""


def _read(config_path: Path | None, file: Path | None) -> tuple[Path, Policy]:
    path = file if file is not None else read_config(config_path).policy
    return path, load_policy(path)


file_option = click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A policy file, instead of the configuration's.",
)


@policy.command()
@file_option
@json_option
@config_option
@reports_errors
def check(*, file: Path | None, as_json: bool, config_path: Path | None) -> int:
    """Validate the policy file; every mistake is shown at once."""
    path, parsed = _read(config_path, file)
    problems: tuple[str, ...] = ()
    warnings = (*advice(parsed), *_missing_programs(parsed), *_unlisted(parsed))
    if file is None or config_path is not None:
        repositories = read_config(config_path).repositories
        problems = tuple(parsed.unknown_targets(repositories))
        warnings = (*warnings, *_without_settings(parsed, repositories))
    if as_json:
        print_json(
            {
                "file": str(path),
                "rules": len(parsed.rules),
                "problems": problems,
                "warnings": warnings,
            }
        )
        return USAGE if problems else DONE
    for problem in problems:
        click.echo(f"error: {problem}", err=True)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    if problems:
        return USAGE
    click.echo(f"{path}: good, {len(parsed.rules)} rules")
    return DONE


def _missing_programs(parsed: Policy) -> Iterator[str]:
    """Yield what the rules' formats need and this machine has not got."""
    for rule in parsed.rules:
        for each in formats_named(rule.formats):
            if lacking := each.lacking():
                yield f"{rule}: {lacking}"


def _without_settings(
    parsed: Policy, repositories: Mapping[str, RepositoryConfig]
) -> Iterator[str]:
    """Yield what the rules' formats need and their repository's settings lack."""
    for rule in parsed.rules:
        if rule.effect == "deny" or "thin" not in rule.formats:
            continue
        with suppress(NoTarget):  # which is a problem, and said as one
            fqrn = target_repository(rule, repositories)
            if repositories[fqrn].thin is None:
                yield (
                    f"{rule}: wants thin images: say under repositories.{fqrn}.thin in"
                    " the configuration where to push them"
                )


def _unlisted(parsed: Policy) -> Iterator[str]:
    """Yield the rules whose image repositories nobody can list beforehand."""
    for rule in parsed.rules:
        host, _, path = rule.canonical_pattern.partition("/")
        namespace = path.partition("/")[0]
        is_any = "*" in host or (host == DOCKER_HUB and "*" in namespace)
        if rule.watch and is_any:
            yield (
                f"{rule}: only repositories that were pushed before are watched: write"
                " out the registry, and at Docker Hub the namespace"
            )


@policy.command()
@click.argument("reference")
@file_option
@json_option
@config_option
@reports_errors
def explain(
    reference: str, *, file: Path | None, as_json: bool, config_path: Path | None
) -> int:
    """Show which rule decides about REFERENCE, and why."""
    _, parsed = _read(config_path, file)
    decision = parsed.decide(Reference.parse(reference))
    word = "allowed" if decision.allowed else "refused"
    if as_json:
        print_json(
            {
                "reference": decision.reference,
                "decision": word,
                "reason": decision.reason,
                "line": decision.rule.line if decision.rule else None,
            }
        )
    else:
        click.echo(f"{word}: {about(decision.reference, decision.reason)}")
    return DONE if decision.allowed else REFUSED
