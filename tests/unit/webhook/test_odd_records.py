"""What somebody else writes into Redis harms the record that it is in, and no other.

Each field of a record of each state in turn holds each of the odd values, in one ledger
beside images of which nothing is odd; then everything is asked for.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from tests.support.harness.ledger import D1, D2, LedgerDriver
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import (
    OPERATOR,
    WebApp,
    create_web_app,
    write_config,
)
from webhook.cli import main
from workers.ledger import Outcome, Published, Rebuilder, RunResult, State
from workers.ledger.records import LiveImage, Progress
from workers.ledger.writing import hint_to_json

pytestmark = pytest.mark.slow

PREFIX = "cvmfs-webhook:"
GOOD = "registry.example/team/good"
KINDS = ("live", "failed", "waiting", "running")
ODD: Mapping[str, bytes] = {
    "no-utf-8": b"\xff\xfe",
    "surrogate": b"\xed\xa0\x80",
    "garbage": b"garbage",
    "empty": b"",
    "nan": b"nan",
    "infinite": b"-inf",
    "huge": b"1e300",
    "long": b"9" * 5000,
    "negative": b"-1",
    "deep": b"[" * 5000,
    "null": b"null",
    "object": b'{"a": [1, null, {"b": NaN}]}',
    "list": b'["\xff", 1e999]',
    "escape": b"\x1b[2J\r\n\x00",
}
LISTS = ("runs", "lives")
_EVENT = ("time", "state", "reference", "revision", "digest", "reason")


@pytest.fixture
def path(redis_server: RedisServer, tmp_path: Path) -> Path:
    repository = f"repositories: {{a.example: {{storage: '{tmp_path.as_uri()}/r'}}}}"
    return write_config(tmp_path, redis_server, repository)


@pytest.fixture
def app(path: Path) -> Iterator[WebApp]:
    with create_web_app(path) as made:
        yield made


def make(driver: LedgerDriver, kind: str, name: str) -> None:
    """Bring an image into a state, with as many fields as there are."""
    if kind == "failed":
        driver.fail(name)
        return
    driver.make_live(D1, name, size=7)
    driver.push(D2, name)
    if kind == "live":
        driver.publish(driver.begin(reference=name), D2, 2, size=8)
    if kind == "running":
        lease = driver.begin(reference=name)
        driver.ledger.stage(lease, State.FETCHING, digest=D2)
        driver.ledger.stage(lease, State.CONVERTING, progress=Progress(1, 2, 3, 4))


def keys(connection: redis.Redis) -> list[bytes]:
    return [key for key in connection.scan_iter(f"{PREFIX}*") if isinstance(key, bytes)]


def with_odd_fields(app: WebApp) -> list[str]:
    """Make images, and a copy of each for every field and every odd value."""
    victims = []
    for kind in KINDS:
        good = f"{GOOD}:{kind}"
        make(app.driver, kind, good)
        fields = app.connection.hgetall(f"{PREFIX}image:{good}")
        assert fields
        with app.connection.pipeline() as pipeline:
            for place, field in enumerate(fields):
                for what, odd in ODD.items():
                    victim = f"registry.example/team/{kind}-{place}:{what}"
                    copy = {**fields, field: odd}
                    for name, value in copy.items():
                        pipeline.hset(f"{PREFIX}image:{victim}", name, value)
                    for list_name in ("images", "state:failed", "owed"):
                        pipeline.zadd(f"{PREFIX}{list_name}", {victim: 1.0})
                    victims.append(victim)
            pipeline.execute()
    return victims


def pages(names: list[str]) -> Iterator[str]:
    yield from ("/", "/deliveries", "/metrics", "/readyz", "/healthz")
    yield from (f"/?state={state}" for state in State)
    yield from ("/?q=team", "/api/v1/images?limit=500", "/api/v1/deliveries")
    yield "/api/v1/events"
    yield "/api/v1/events?after=0-0"
    for name in names:
        yield from (f"/images/{name}", f"/api/v1/images/{name}", f"/badge/{name}.svg")


def ask(app: WebApp, path: str) -> str:
    answer = app.client.get(path, headers=OPERATOR)
    assert answer.status_code in {200, 404}, (path, answer.text)
    if answer.mimetype == "application/json":
        json.loads(answer.data, parse_constant=pytest.fail)
    return answer.text


def statuses(path: Path, *words: str) -> str:
    result = CliRunner().invoke(main, ["status", *words, "--config", str(path)])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def assert_the_good_are_shown(app: WebApp, path: Path) -> None:
    found = ask(app, "/?q=good")
    listed = json.loads(statuses(path, "--json"))
    by_name = {image["reference"]: image for image in listed}
    for kind in KINDS:
        good = f"{GOOD}:{kind}"
        assert good in found
        assert "unreadable" not in str(by_name[good]["reason"])


def test_odd_bytes_in_a_field_harm_that_image_alone(app: WebApp, path: Path) -> None:
    victims = with_odd_fields(app)
    assert len(victims) > 1000
    for page in pages([f"{GOOD}:live", *victims[::29]]):
        ask(app, page)
    assert_the_good_are_shown(app, path)
    said = [image for image in app.ledger.records(victims) if image.reason]
    assert len([one for one in said if "ledger rebuild" in str(one.reason)]) > 300
    for victim in victims[::199]:
        statuses(path, victim)


def test_whatever_is_odd_an_image_can_be_published_again(app: WebApp) -> None:
    for victim in with_odd_fields(app)[::11]:
        key = f"{PREFIX}image:{victim}"
        # As when the process that had it is dead.
        app.connection.hset(key, "lease_until", "1")
        accepted = app.ledger.request(victim, source="test")
        assert accepted.number > 0
        assert not app.ledger.may_publish([])
        lease = app.ledger.begin(victim, worker="w")
        if lease is None:  # it has died too often to be tried at once
            app.connection.hdel(key, "next_try")
            lease = app.ledger.begin(victim, worker="w")
        assert lease is not None, victim
        app.ledger.stage(lease, State.FETCHING, digest=D2)
        result = RunResult(
            Outcome.PUBLISHED, D2, None, 3, "a.example", LiveImage({"flat": "/x"}, 5)
        )
        app.ledger.finish(lease, result)
        record = app.driver.image(victim)
        assert (record.state, record.live_digest) == (State.LIVE, D2)
    assert app.ledger.owed(set()) is not None


def test_a_rebuild_mends_every_record(app: WebApp) -> None:
    victims = with_odd_fields(app)
    app.connection.set(f"{PREFIX}image:{GOOD}:wrong", "no hash")
    app.connection.zadd(f"{PREFIX}images", {f"{GOOD}:wrong": 1.0})
    before = {name: app.driver.image(f"{GOOD}:{name}") for name in KINDS}
    rebuilder = Rebuilder(app.connection)
    mended = rebuilder.mend()
    odd = {
        image.reference: image.reason
        for image in app.ledger.records([*victims, f"{GOOD}:wrong"])
        if image.reason and "unreadable" in image.reason
    }
    assert odd == {}
    assert len(mended) > 300
    assert rebuilder.mend() == []
    assert {name: app.driver.image(f"{GOOD}:{name}") for name in KINDS} == before
    published = Published(D2, LiveImage({"flat": "/x"}, 5), 1.0)
    changed = dict(rebuilder.rebuild("a.example", 5, {f"{GOOD}:wrong": published}))
    assert changed[f"{GOOD}:wrong"] == "live"


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_odd_entries_of_lists_are_passed_over(
    app: WebApp, path: Path, odd: bytes
) -> None:
    for kind in KINDS:
        make(app.driver, kind, f"{GOOD}:{kind}")
    live = f"{GOOD}:live"
    connection = app.connection
    for name in LISTS:
        connection.lpush(f"{PREFIX}{name}:{live}", odd)
    for name in ("images", "owed", "deliveries", "looks", "state:live"):
        connection.zadd(f"{PREFIX}{name}", {odd: 1.0})
    connection.hset(f"{PREFIX}delivery", odd, odd)
    connection.hset(f"{PREFIX}delivery", "d1", b"queued\n" + odd)
    connection.hset(f"{PREFIX}counters", odd, odd)
    for name in ("runs:published", "seconds:fetching", "deliveries:hub"):
        connection.hset(f"{PREFIX}counters", name, odd)
    connection.set(f"{PREFIX}jobs", odd)
    connection.set(f"{PREFIX}asked", odd)
    usual = {"time": "1", "reference": live, "state": "live"}
    for field in _EVENT:
        entry: dict[Any, Any] = {name: usual.get(name, "") for name in _EVENT}
        connection.xadd(f"{PREFIX}events", entry | {field: odd})
    connection.xadd(f"{PREFIX}events", {odd or b"x": odd})
    for page in pages([live]):
        ask(app, page)
    statuses(path, live)
    assert_the_good_are_shown(app, path)
    assert len(app.ledger.runs(live)) == 2
    assert len(app.ledger.lives(live)) == 2
    assert len(app.ledger.deliveries()) == len(KINDS) * 2 - 2
    accepted = app.driver.push(D1, f"{GOOD}:another")
    assert accepted.job_id
    app.driver.publish(app.driver.begin(reference=f"{GOOD}:another"))
    app.ledger.owed(set())
    assert connection.zscore(f"{PREFIX}owed", odd) is None


def test_a_key_of_another_type_is_put_aside(app: WebApp, path: Path) -> None:
    for kind in KINDS:
        make(app.driver, kind, f"{GOOD}:{kind}")
    connection = app.connection
    for key in keys(connection):
        saved = connection.dump(key)
        assert saved is not None
        is_text = connection.type(key) == b"string"
        connection.delete(key)
        if is_text:
            connection.rpush(key, b"\xff")
        else:
            connection.set(key, b"\xff")
        # Whichever is asked first.
        for page in reversed([*pages([f"{GOOD}:live"])]):
            ask(app, page)
        statuses(path)
        assert app.ledger.next_due() is not None or b"owed" in key
        assert app.driver.push(D1, f"{GOOD}:another").number
        assert app.ledger.owed(set()) is not None
        connection.restore(key, 0, saved, replace=True)
    assert_the_good_are_shown(app, path)


def test_a_hint_that_cannot_be_read_is_none(app: WebApp) -> None:
    driver = app.driver
    driver.push()
    hint = driver.image().hint
    assert hint is not None
    key = f"{PREFIX}image:{driver.image().reference}"
    app.connection.hset(key, "hint", hint_to_json(hint)[:-1])
    assert driver.begin().hint is None
