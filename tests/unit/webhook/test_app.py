"""The application as it is put together: every route, and who may use it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.support.harness.redis_server import RedisServer
from tests.support.harness.routes import paths
from tests.support.harness.web_app import FQRN, TOKEN, create_web_app, write_config
from workers.ledger import Looks

# Design section 5.4: what anybody may have. The rest is the operator's.
OPEN = {
    "/",
    "/images/registry.example.org/a/b:c",
    "/api/v1/images",
    "/api/v1/images/registry.example.org/a/b:c",
    "/badge/registry.example.org/a/b:c.svg",
    "/healthz",
    "/readyz",
    f"/cvmfs/{FQRN}/.cvmfspublished",
    "/cvmfs/info/v1/meta.json",
    "/cvmfs/info/v1/repositories.json",
    "/login",
    "/assets/style.css",
}
# Where there is nothing to have: hooks know nobody here, and an icon tells nobody much.
NOTHING = {"/api/anything", "/api/", "/hooks/anything", "/queue/icon"}


@pytest.fixture(scope="module")
def app(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flask]:
    folder = tmp_path_factory.mktemp("state")
    storage = folder / FQRN
    storage.mkdir()
    (storage / ".cvmfspublished").write_text("manifest")
    more = f'repositories: {{{FQRN}: {{storage: "{storage.as_uri()}"}}}}\n'
    with create_web_app(write_config(folder, redis_server, more)) as web:
        yield web.app


def test_what_is_not_open_to_all_is_closed_to_strangers(app: Flask) -> None:
    client = app.test_client()
    for method, path in paths(app):
        with client.open(path, method=method) as answer:
            code = answer.status_code
        if (method == "GET" and path in OPEN) or path in NOTHING:
            assert code in {200, 404}, path
        else:
            assert code in {302, 401, 403, 308}, (method, path, code)


def test_what_is_open_is_there(app: Flask) -> None:
    there = {path for method, path in paths(app) if method == "GET"}
    assert there >= OPEN | {"/queue/", "/metrics", "/deliveries", "/api/v1/events"}


def test_nothing_changes_by_a_get_of_the_operator(app: Flask) -> None:
    client = app.test_client()
    operator = {"Authorization": f"Bearer {TOKEN}"}
    before = client.get("/metrics", headers=operator).text
    for method, path in paths(app):
        if method == "GET":
            with client.get(path, headers=operator) as answer:
                assert answer.status_code < 500, path
    assert client.get("/metrics", headers=operator).text == before


def test_every_answer_is_hardened(app: Flask) -> None:
    client = app.test_client()
    for path in (*OPEN, "/nowhere", "/metrics", "/queue/", "/hooks/x"):
        with client.get(path) as answer:
            headers = answer.headers
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert "default-src 'none'" in headers["Content-Security-Policy"], path
        assert headers["X-Frame-Options"] == "DENY", path
        assert "Access-Control-Allow-Origin" not in headers


def test_a_lost_visitor_is_told_so_in_our_words(app: Flask) -> None:
    answer = app.test_client().get("/nowhere")
    assert answer.status_code == 404
    assert "There is nothing here" in answer.text


def test_what_came_in_is_counted_by_kind_from_the_start(app: Flask) -> None:
    operator = {"Authorization": f"Bearer {TOKEN}"}
    text = app.test_client().get("/metrics", headers=operator).text
    assert 'deliveries_total{kind="dockerhub"} 0.0' in text
    assert "/nowhere" not in text


def test_files_beside_the_repository_are_not_served(app: Flask, tmp_path: Path) -> None:
    client = app.test_client()
    for path in ("policy.yaml", "../policy.yaml", f"{FQRN}/../policy.yaml", "redis/x"):
        assert client.get(f"/cvmfs/{path}").status_code == 404


def test_a_policy_that_is_watched_by_nobody_shows(
    app: Flask, redis_server: RedisServer, tmp_path: Path
) -> None:
    def samples() -> str:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return app.test_client().get("/metrics", headers=headers).text

    assert "registries_asked_timestamp_seconds 0.0" in samples()
    with create_web_app(write_config(tmp_path, redis_server)) as web:
        rule = "{allow: registry.example/team/**, watch: {every: 15m}}"
        web.policy_path.write_text(f"version: 1\nrules: [{rule}]\n")
        page = web.client.get("/").text
        assert "does `cvmfs-webhook reconcile` run?" in page
        Looks(web.connection, web.ledger.now).note_asked()
        page = web.client.get("/").text
        assert "does `cvmfs-webhook reconcile` run?" not in page
