"""What the author of an image is told when there is nothing to show."""

from pathlib import Path

import pytest

from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import WebApp, create_web_app, write_config
from webhook.web import not_shown
from workers.config import SiteConfig
from workers.reference import Reference

NAME = "registry.example.org/never/pushed:v1"
CHECKS = not_shown.checks(Reference.parse(NAME))


def test_the_page_says_what_to_look_after_and_whom_to_ask(web: WebApp) -> None:
    answer = web.client.get(f"/images/{NAME}")
    assert answer.status_code == 404
    assert not_shown.HEADING in answer.text
    for check in CHECKS:
        assert check.question in answer.text
    command = f"docker logout registry.example.org &amp;&amp; docker pull {NAME}"
    assert command in answer.text
    assert "ask the operator of this service" in answer.text
    assert f'href="/login?next=/images/{NAME}"' in answer.text


def test_a_program_is_told_the_same(web: WebApp) -> None:
    answer = web.client.get(f"/api/v1/images/{NAME}")
    assert answer.status_code == 404
    assert answer.headers["Cache-Control"] == "no-store"
    said = answer.get_json()
    assert said["error"] == f"there is nothing to show of {NAME}"
    asked = [check["question"] for check in said["check"]]
    assert asked == [check.question for check in CHECKS]
    assert said["ask"] == "the operator of this service"
    assert "policy" not in said


def test_the_command_logs_out_of_the_registry_that_is_asked() -> None:
    commands = [each.command for each in not_shown.checks(Reference.parse("alpine"))]
    assert "docker logout && docker pull docker.io/library/alpine:latest" in commands


@pytest.mark.parametrize(
    ("site", "words"),
    [
        (SiteConfig(), "the operator of this service"),
        (SiteConfig("CVMFS team"), "CVMFS team"),
        (SiteConfig("Ana", "ana@cern.ch", "CERN"), "Ana (CERN), ana@cern.ch"),
        (SiteConfig(email="a@b.c"), "the operator of this service, a@b.c"),
    ],
)
def test_who_runs_the_site_is_named_where_the_configuration_says(
    site: SiteConfig, words: str
) -> None:
    assert not_shown.contact(site) == words


def test_the_configurations_site_is_whom_to_ask(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    more = "site: {administrator: The CVMFS team, email: cvmfs@example.org}\n"
    with create_web_app(write_config(tmp_path, redis_server, more)) as web:
        page = web.client.get(f"/images/{NAME}").text
    assert "ask The CVMFS team, cvmfs@example.org" in page


def test_a_search_that_finds_nothing_leads_there(web: WebApp) -> None:
    page = web.client.get(f"/?q={NAME}").text
    assert "No image matches" in page
    assert f'href="/images/{NAME}"' in page
