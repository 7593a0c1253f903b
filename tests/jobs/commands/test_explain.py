"""``explain`` says what a notification would come to, and does nothing of it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import create_web_app, write_config
from webhook.cli import main

SAMPLES = Path(__file__).parents[2] / "contracts" / "samples"
RECORDED = sorted(SAMPLES.glob("*-[0-9].json"))
AS_WSGI = "schlüssel".encode().decode("latin-1")
ROUTES: dict[str, tuple[str, str, dict[str, str]]] = {
    "dockerhub": ("hub", "/hooks/hub/s3cret", {}),
    "distribution": ("local", "/hooks/local", {"Authorization": "Bearer s3cret"}),
    "gitlab": ("lab", "/hooks/lab", {"Authorization": f"Bearer {AS_WSGI}"}),
}


@pytest.fixture
def config(redis_server: RedisServer, tmp_path: Path) -> Path:
    return write_config(tmp_path, redis_server)


def explain(config: Path, source: str, file: Path, *words: str) -> Result:
    verb = ["explain", "--source", source, str(file), "--config", str(config)]
    return CliRunner().invoke(main, [*verb, *words])


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_what_is_explained_is_what_happens_then(config: Path, path: Path) -> None:
    source, route, secret = ROUTES[path.stem.split("-")[0]]
    result = explain(config, source, path, "--json")
    assert result.exit_code == 0, result.stderr
    keys = ("reference", "decision", "reason")
    events = json.loads(result.stdout)["events"]
    explained = [{key: event[key] for key in keys} for event in events]
    with create_web_app(config) as web:
        assert web.ledger.deliveries() == []
        assert web.queue.depth() == 0
        headers = {"Content-Type": "application/json", **secret}
        answer = web.client.post(route, data=path.read_bytes(), headers=headers)
        assert answer.status_code < 300
        happened = answer.get_json()["images"]
    assert [one for one in explained if one in happened] == happened
    left = [one["decision"] for one in explained if one not in happened]
    assert set(left) <= {"ignored"}


def test_it_is_said_in_one_line_for_each_event(config: Path) -> None:
    result = explain(config, "hub", SAMPLES / "dockerhub-1.json")
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    assert line.startswith("refused: docker.io/")


def test_what_is_no_notification_is_told_as_its_sender_would_be(
    config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "notification"
    file.write_text('{"push_data": 1}')
    result = explain(config, "hub", file)
    assert result.exit_code == 1
    assert result.stderr == f"error: {file}: repository: is missing\n"
    assert not result.stdout


def test_a_source_that_is_not_configured_is_told_with_those_that_are(
    config: Path,
) -> None:
    result = explain(config, "nowhere", SAMPLES / "dockerhub-1.json")
    assert result.exit_code == 2
    assert "sources.nowhere: not configured; there is hub, local, lab" in result.stderr


def test_a_notification_may_come_from_standard_input(config: Path) -> None:
    notification = (SAMPLES / "dockerhub-1.json").read_text()
    verb = ["explain", "--source", "hub", "-", "--config", str(config)]
    piped = CliRunner().invoke(main, verb, input=notification)
    read = explain(config, "hub", SAMPLES / "dockerhub-1.json")
    assert (piped.exit_code, piped.stdout) == (0, read.stdout)
    assert CliRunner().invoke(main, verb, input="{").stderr.startswith("error: -: ")
