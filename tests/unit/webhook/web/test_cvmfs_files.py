"""The files of a repository, served to its clients."""

import http.client
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.harness.http_server import RunningHttpServer, run_http_server
from webhook.web import cvmfs_files, headers
from workers.config import Config, RepositoryConfig, SiteConfig

FQRN = "unpacked.example.org"
OBJECT = "data/ab/" + "c" * 38
CATALOG = OBJECT + "C"
CONTENT = bytes(range(256)) * 1000
SITE = SiteConfig("A. Librarian", "librarian@example.org", "Example")


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    root = tmp_path / "srv" / FQRN
    (root / "data" / "ab").mkdir(parents=True)
    (root / "data" / "txn").mkdir()
    (root / OBJECT).write_bytes(CONTENT)
    (root / CATALOG).write_bytes(b"catalog")
    (root / "data" / "txn" / ("c" * 38)).write_bytes(b"unfinished")
    (root / ".cvmfspublished").write_bytes(b"manifest")
    (root / ".cvmfswhitelist").write_bytes(b"whitelist")
    (root / ".lock").write_bytes(b"")
    (tmp_path / "secret").write_bytes(b"secret")
    return root


@pytest.fixture
def client(storage: Path) -> Iterator[FlaskClient]:
    app = Flask("webhook", static_folder=None)
    app.register_blueprint(cvmfs_files.blueprint({FQRN: storage}, SITE))
    headers.init_app(app)
    with app.test_client() as made:
        yield made


def test_mutable_files_are_kept_for_a_minute_by_proxies(client: FlaskClient) -> None:
    with client.get(f"/cvmfs/{FQRN}/.cvmfspublished") as answer:
        assert answer.data == b"manifest"
        assert answer.content_type == "application/x-cvmfs"
        assert answer.headers["Cache-Control"] == "max-age=61"


def test_content_is_kept_for_days(client: FlaskClient) -> None:
    for name, content in ((OBJECT, CONTENT), (CATALOG, b"catalog")):
        with client.get(f"/cvmfs/{FQRN}/{name}") as answer:
            assert answer.data == content
            assert answer.content_type == "application/octet-stream"
            assert answer.headers["Cache-Control"] == "max-age=259200"
            assert answer.content_length == len(content)


@pytest.mark.parametrize("name", [".cvmfspublished", OBJECT])
def test_nothing_is_said_that_makes_a_client_ask_conditionally(
    client: FlaskClient, name: str
) -> None:
    asked = {
        "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT",
        "If-None-Match": "*",
        "Accept-Encoding": "gzip",
    }
    with client.get(f"/cvmfs/{FQRN}/{name}", headers=asked) as answer:
        assert answer.status_code == 200
        absent = {"ETag", "Last-Modified", "Content-Encoding", "Content-Disposition"}
        assert not absent & set(answer.headers.keys())


def test_operators_of_replicas_find_what_is_served_and_by_whom(
    client: FlaskClient,
) -> None:
    answer = client.get("/cvmfs/info/v1/repositories.json")
    assert answer.json == {
        "schema": 1,
        "repositories": [{"name": FQRN, "url": f"/cvmfs/{FQRN}"}],
        "replicas": [],
    }
    assert answer.headers["Cache-Control"] == "max-age=61"
    assert client.get("/cvmfs/info/v1/meta.json").json == {
        "administrator": "A. Librarian",
        "email": "librarian@example.org",
        "organisation": "Example",
        "custom": {},
    }
    assert client.get("/cvmfs/info/v1/other.json").status_code == 404


def test_head_answers_like_get_without_a_body(client: FlaskClient) -> None:
    answer = client.head(f"/cvmfs/{FQRN}/{OBJECT}")
    assert answer.status_code == 200
    assert answer.data == b""
    assert answer.content_length == len(CONTENT)
    assert answer.headers["Cache-Control"] == "max-age=259200"
    assert client.head(f"/cvmfs/{FQRN}/{OBJECT}X").status_code == 404


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("bytes=0-9", CONTENT[:10]), ("bytes=255990-", CONTENT[255990:])],
)
def test_a_part_of_an_object_can_be_had(
    client: FlaskClient, asked: str, expected: bytes
) -> None:
    with client.get(f"/cvmfs/{FQRN}/{OBJECT}", headers={"Range": asked}) as answer:
        assert answer.status_code == 206
        assert answer.data == expected
        assert answer.headers["Content-Range"].endswith(f"/{len(CONTENT)}")


def test_a_part_behind_the_end_cannot(client: FlaskClient) -> None:
    asked = {"Range": f"bytes={len(CONTENT)}-"}
    assert client.get(f"/cvmfs/{FQRN}/{OBJECT}", headers=asked).status_code == 416


@pytest.mark.parametrize(
    "path",
    [
        f"/cvmfs/{FQRN}/data/ab/{'d' * 38}",
        f"/cvmfs/{FQRN}/.cvmfsreflog",
        f"/cvmfs/{FQRN}/.lock",
        f"/cvmfs/{FQRN}/data/txn/{'c' * 38}",
        f"/cvmfs/{FQRN}/data/ab",
        f"/cvmfs/{FQRN}/data/ab/",
        f"/cvmfs/{FQRN}/data/ab/{'C' * 38}",
        f"/cvmfs/{FQRN}/../../secret",
        f"/cvmfs/{FQRN}/..%2f..%2fsecret",
        f"/cvmfs/{FQRN}/data/../../../secret",
        f"/cvmfs/{FQRN}//secret",
        f"/cvmfs/{FQRN}/.cvmfspublished%00",
        f"/cvmfs/{FQRN}/.cvmfspublished%0a",
        f"/cvmfs/../{FQRN}/.cvmfspublished",
        "/cvmfs/other.example.org/.cvmfspublished",
        f"/cvmfs/{FQRN}",
    ],
)
def test_what_is_no_file_of_the_repository_is_not_found(
    client: FlaskClient, path: str
) -> None:
    answer = client.get(path, follow_redirects=True)
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_an_object_that_is_missing_now_is_not_said_to_be_missing_later(
    client: FlaskClient,
) -> None:
    answer = client.get(f"/cvmfs/{FQRN}/data/ab/{'d' * 38}")
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_link_a_pipe_and_a_folder_are_not_served(
    client: FlaskClient, storage: Path, tmp_path: Path
) -> None:
    names = [f"data/ab/{digit * 38}" for digit in "123"]
    (storage / names[0]).symlink_to(tmp_path / "secret")
    os.mkfifo(storage / names[1])
    (storage / names[2]).mkdir()
    for name in names:
        assert client.get(f"/cvmfs/{FQRN}/{name}").status_code == 404


def test_an_object_that_cannot_be_read_is_not_said_to_be_missing(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "open", failing)
    assert client.get(f"/cvmfs/{FQRN}/{OBJECT}").status_code == 503


def test_a_server_sends_one_file_after_another_over_one_connection(
    storage: Path,
) -> None:
    files_there = {OBJECT: CONTENT, ".cvmfspublished": b"manifest", CATALOG: b"catalog"}
    with serving(storage) as server:
        connection = http.client.HTTPConnection(*server.address, timeout=30)
        connection.connect()
        first = connection.sock
        for name, content in files_there.items():
            path = f"/cvmfs/{FQRN}/{name}"
            connection.request("HEAD", path)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"")
            assert answer.headers["Content-Length"] == str(len(content))
            connection.request("GET", path)
            assert connection.getresponse().read() == content
            connection.request("GET", path, headers={"Range": "bytes=2-4"})
            assert connection.getresponse().read() == content[2:5]
            assert connection.sock is first
        connection.close()


@contextmanager
def serving(storage: Path) -> Iterator[RunningHttpServer]:
    """Serve a repository on a socket."""
    app = Flask("webhook", static_folder=None)
    app.register_blueprint(cvmfs_files.blueprint({FQRN: storage}, SITE))
    with run_http_server(app) as server:
        yield server


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_written(client: FlaskClient, method: str) -> None:
    answer = client.open(f"/cvmfs/{FQRN}/.cvmfspublished", method=method)
    assert answer.status_code == 405


def test_only_repositories_in_local_storage_are_served() -> None:
    named = {
        "a.example.org": "file:///srv/cvmfs/a%20b",
        "b.example.org": "s3://bucket/b",
        "c.example.org": "file://localhost/srv/c",
    }
    config = Config(
        repositories={
            fqrn: RepositoryConfig(fqrn, storage) for fqrn, storage in named.items()
        }
    )
    assert cvmfs_files.local_roots(config) == {
        "a.example.org": Path("/srv/cvmfs/a b"),
        "c.example.org": Path("/srv/c"),
    }
