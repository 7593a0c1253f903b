"""The pages of the queue: for the operator, and to look at only."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import rq_dashboard.web
from flask import Flask
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from tests.support.harness.web_app import OPERATOR, WebApp
from webhook.web import queue_pages
from webhook.web.login import Login
from workers.jobqueue import QUEUE_NAME
from workers.ledger import Accepted, EndedSessions, Verdict

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>alert(1)</script>"


@pytest.fixture
def job(web: WebApp) -> Job:
    queue = Queue(
        "conversions", connection=web.driver.connection, serializer=JSONSerializer
    )
    return queue.enqueue(
        "workers.jobs.run", "registry.example.org/a/b:c", description="a/b:c"
    )


def reading_paths(job: Job) -> list[str]:
    return [
        "/queue/",
        "/queue/0/view/workers",
        "/queue/0/view/jobs",
        "/queue/0/view/jobs/conversions/queued/8/asc/1",
        f"/queue/0/view/job/{job.id}",
        "/queue/0/data/queues.json",
        "/queue/0/data/workers.json",
        "/queue/0/data/jobs/conversions/queued/8/asc/1.json",
        f"/queue/0/data/job/{job.id}.json",
        "/queue/static/css/main.css",
        "/queue/read-only.css",
    ]


def test_the_operator_sees_queues_jobs_and_workers(web: WebApp, job: Job) -> None:
    for path in reading_paths(job):
        with web.client.get(path, headers=OPERATOR) as answer:
            assert answer.status_code == 200, path
    data = f"/queue/0/data/job/{job.id}.json"
    shown = web.client.get(data, headers=OPERATOR).get_json()
    assert (shown["description"], shown["status"]) == ("a/b:c", "queued")


def test_nobody_else_sees_any_of_it(web: WebApp, job: Job) -> None:
    for path in reading_paths(job):
        assert web.client.get(path).status_code in {302, 401}, path


def mutating_paths(job: Job) -> list[tuple[str, str]]:
    return [
        ("POST", f"/queue/job/{job.id}/delete"),
        ("POST", f"/queue/job/{job.id}/requeue"),
        ("POST", "/queue/requeue/conversions"),
        ("GET", "/queue/requeue/conversions"),
        ("POST", "/queue/queue/conversions/queued/empty"),
        ("POST", "/queue/queue/conversions/compact"),
    ]


def test_nothing_can_be_changed_by_anybody(web: WebApp, job: Job) -> None:
    for method, path in mutating_paths(job):
        answer = web.client.open(path, method=method, headers=OPERATOR)
        assert answer.status_code == 403, path
        assert web.client.open(path, method=method).status_code in {302, 401}, path
    assert Job.exists(job.id, connection=web.driver.connection)


def test_every_route_of_rq_dashboard_is_either_for_reading_or_refused(
    web: WebApp,
) -> None:
    theirs = Flask(__name__)
    theirs.register_blueprint(rq_dashboard.web.blueprint)
    known = {rule.endpoint for rule in web.app.url_map.iter_rules()}
    views = web.app.view_functions
    refused = set()
    for rule in theirs.url_map.iter_rules():
        if rule.endpoint.startswith("rq_dashboard."):
            assert rule.endpoint in known
            if views[rule.endpoint] is queue_pages._refuse:
                refused.add(rule.endpoint.removeprefix("rq_dashboard."))
    assert refused == {
        "compact_queue",
        "delete_job_view",
        "empty_queue",
        "requeue_all",
        "requeue_job_view",
    }


def test_a_route_that_a_later_version_brings_is_refused(
    web: WebApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = queue_pages._their_app()
    theirs.add_url_rule("/new", "rq_dashboard.new", lambda: "done")
    monkeypatch.setattr(queue_pages, "_their_app", lambda: theirs)
    app = Flask(__name__)
    ended = EndedSessions(web.driver.connection)
    login = Login([], https=False, ended=ended)
    pages = queue_pages.blueprint(connection=web.driver.connection, login=login)
    app.register_blueprint(pages)
    assert app.view_functions["rq_dashboard.new"] is queue_pages._refuse


@pytest.mark.parametrize(
    "path",
    [
        "/queue/1/view/workers",
        "/queue/0/view/jobs/x');alert(1);('/queued/8/asc/1",
        "/queue/0/view/jobs/conversions/strange/8/asc/1",
        "/queue/0/view/jobs/conversions/queued/0/asc/1",
        "/queue/0/data/jobs/conversions/queued/x/asc/1.json",
        "/queue/0/data/jobs/conversions/queued/8/asc/0.json",
        "/queue/0/data/job/no-such-job.json",
        "/queue/static/../web.py",
    ],
)
def test_what_its_routes_would_stumble_over_is_not_found(
    web: WebApp, path: str
) -> None:
    assert web.client.get(path, headers=OPERATOR).status_code == 404


class Trap:
    """What a pickle can do to whoever reads it."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path(self.path),))

    def __init__(self, path: Path) -> None:
        self.path = str(path)


def test_nothing_is_ever_unpickled(web: WebApp, job: Job, tmp_path: Path) -> None:
    trap = pickle.dumps(Trap(tmp_path / "sprung"))
    connection = web.driver.connection
    connection.hset(job.key, mapping={"meta": trap, "data": trap})
    worker = "rq:worker:w1"
    connection.sadd("rq:workers", worker)
    connection.hset(worker, mapping={"current_job": job.id, "queues": "conversions"})
    for path in reading_paths(job):
        with web.client.get(path, headers=OPERATOR):
            assert not (tmp_path / "sprung").exists(), path


def test_the_address_of_redis_is_on_no_page(web: WebApp, job: Job) -> None:
    port = str(web.driver.connection.connection_pool.connection_kwargs["port"])
    for path in reading_paths(job):
        with web.client.get(path, headers=OPERATOR) as answer:
            text = answer.get_data(as_text=True)
            assert "redis://" not in text
            assert port not in text


def test_a_hostile_text_of_a_job_reaches_the_page_as_text(
    web: WebApp, job: Job
) -> None:
    job.description = HOSTILE
    job.save()
    data = f"/queue/0/data/job/{job.id}.json"
    assert "<" not in web.client.get(data, headers=OPERATOR).text
    policy = web.client.get("/queue/", headers=OPERATOR).headers
    assert "'unsafe-inline'" not in policy["Content-Security-Policy"].split("style")[0]


def test_what_rq_cannot_read_is_left_out_and_all_else_shown(web: WebApp) -> None:
    connection = web.connection
    for job_id in ("good", "odd"):
        accepted = Accepted("a.example/b:c", Verdict.QUEUED, "allowed", job_id)
        web.queue.enqueue_accepted([accepted])
    queue = f"rq:queue:{QUEUE_NAME}"
    jobs = f"/queue/0/data/jobs/{QUEUE_NAME}/queued/8/asc/1.json"
    paths = (jobs, "/queue/", "/queue/0/data/queues.json", "/queue/0/data/workers.json")
    damages: list[Callable[[], object]] = [
        lambda: connection.hset("rq:job:odd", "data", b"\xff"),
        lambda: connection.hset("rq:job:good", "unknown", b"\xff"),
        lambda: connection.rpush(queue, b"\xff\xfe"),
        lambda: connection.sadd("rq:queues", b"\xff\xfe", "garbage"),
        lambda: connection.sadd("rq:workers", b"\xff\xfe", "rq:worker:a"),
        lambda: connection.hset("rq:worker:a", "birth", b"\xff"),
        lambda: connection.zadd(f"rq:failed:{QUEUE_NAME}", {b"\xff": 9e9}),
        lambda: connection.set(f"rq:finished:{QUEUE_NAME}", "no set"),
    ]
    for damage in damages:
        damage()
        for path in paths:
            answer = web.client.get(path, headers=OPERATOR)
            assert answer.status_code == 200, (path, answer.text)
        shown = web.client.get(jobs, headers=OPERATOR).get_json()["jobs"]
        assert "good" in {job["id"] for job in shown}
    gone = web.client.get("/queue/0/data/job/odd.json", headers=OPERATOR)
    assert gone.status_code == 404
