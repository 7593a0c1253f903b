"""The metrics, and that nothing secret is in them."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.harness.ledger import D1
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import OPERATOR, WebApp, open_web_app
from workers.ledger import Outcome, RunResult, State


def scrape(web: WebApp) -> dict[str, float]:
    """Return each sample under its name and labels as Prometheus reads them."""
    answer = web.client.get("/metrics", headers=OPERATOR)
    assert answer.status_code == 200
    samples = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            name = sample.name.removeprefix("cvmfs_webhook_")
            samples[f"{name}{{{labels}}}" if labels else name] = sample.value
    return samples


def test_metrics_are_the_operators(web: WebApp) -> None:
    assert web.client.get("/metrics").status_code == 401


def test_images_are_counted_by_state_and_all_states_are_there(web: WebApp) -> None:
    empty = scrape(web)
    assert empty["images{state=live}"] == 0
    web.driver.make_live(D1, "registry.example.org/a/live:v1")
    web.driver.push(D1, "registry.example.org/a/waiting:v1")
    web.driver.refuse("registry.example.org/a/refused:v1")
    found = scrape(web)
    assert found["images{state=live}"] == 1
    assert found["images{state=queued}"] == 1
    assert found["images{state=refused}"] == 1
    assert found["images{state=failed}"] == 0
    assert found.keys() == empty.keys()


def test_no_name_of_an_image_is_ever_a_label(web: WebApp) -> None:
    web.driver.push(D1, "registry.example.org/some/name:v1")
    text = web.client.get("/metrics", headers=OPERATOR).text
    assert "some/name" not in text


def test_the_image_that_waits_longest_is_timed(web: WebApp) -> None:
    assert scrape(web)["oldest_waiting_seconds"] == 0
    web.driver.push(D1, "registry.example.org/a/first:v1")
    web.driver.clock.passes(90)
    web.driver.push(D1, "registry.example.org/a/second:v1")
    web.driver.clock.passes(10)
    assert scrape(web)["oldest_waiting_seconds"] == 100


def test_runs_are_counted_by_outcome_and_timed_by_stage(web: WebApp) -> None:
    assert scrape(web)["runs_total{outcome=published}"] == 0
    web.driver.push(D1)
    lease = web.driver.begin()
    web.driver.clock.passes(2)
    web.driver.ledger.stage(lease, State.FETCHING)
    web.driver.clock.passes(30)
    web.driver.publish(lease)
    web.driver.push(D1)
    web.driver.ledger.finish(
        web.driver.begin(), RunResult(Outcome.FAILED, reason="broken")
    )
    found = scrape(web)
    assert found["runs_total{outcome=published}"] == 1
    assert found["runs_total{outcome=failed}"] == 1
    assert found["runs_total{outcome=refused}"] == 0
    assert found["stage_seconds_total{stage=resolving}"] == 2
    assert found["stage_seconds_total{stage=fetching}"] == 30


def test_what_came_in_is_counted_by_the_kind_of_its_source(web: WebApp) -> None:
    web.driver.push(D1, source="hub")
    web.driver.push(D1, source="lab")
    web.driver.push(D1, source="a source that is configured no more")
    web.driver.refuse("registry.example.org/a/b:c")
    web.driver.ledger.request("registry.example.org/a/b:d", source="operator")
    found = scrape(web)
    assert found["deliveries_total{kind=dockerhub}"] == 2
    assert found["deliveries_total{kind=gitlab}"] == 1
    assert found["deliveries_total{kind=other}"] == 1
    assert found["events_total{kind=dockerhub,verdict=queued}"] == 1
    assert found["events_total{kind=dockerhub,verdict=refused}"] == 1
    assert found["events_total{kind=gitlab,verdict=duplicate}"] == 0


def test_waiting_jobs_are_counted(web: WebApp) -> None:
    assert scrape(web)["queue_jobs"] == 0
    web.queue.enqueue_accepted([web.driver.push(D1)])
    assert scrape(web)["queue_jobs"] == 1


def test_a_broken_policy_shows_while_the_old_one_is_in_force(web: WebApp) -> None:
    assert (scrape(web)["policy_ok"], scrape(web)["policy_rules"]) == (1, 2)
    web.policy_path.write_text("version: 1\nrules: [{permit: x}]\n")
    assert (scrape(web)["policy_ok"], scrape(web)["policy_rules"]) == (0, 2)


def test_every_process_shows_the_same(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    with (
        open_web_app(redis_server, folders[0]) as one,
        open_web_app(redis_server, folders[1]) as other,
    ):
        one.driver.push(D1)
        assert scrape(one) == scrape(other)


@pytest.mark.slow
def test_without_redis_there_are_still_metrics_that_say_so(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    with (
        RedisServer(tmp_path_factory.mktemp("redis")) as server,
        open_web_app(server, tmp_path) as web,
    ):
        assert scrape(web)["redis_up"] == 1
        server.kill()
        found = scrape(web)
        assert (found["redis_up"], found["redis_durable"]) == (0, 0)
        assert "images{state=live}" not in found


def test_a_redis_that_may_forget_shows(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    folder = tmp_path_factory.mktemp("redis")
    with (
        RedisServer(folder, "redis", "--appendfsync", "no") as server,
        open_web_app(server, tmp_path) as web,
    ):
        found = scrape(web)
        assert (found["redis_up"], found["redis_durable"]) == (1, 0)


def test_every_state_is_counted_and_every_stage_timed(web: WebApp) -> None:
    web.driver.push()
    lease = web.driver.begin()
    for state in State:
        if state.is_stage:
            web.driver.ledger.stage(lease, state)
            web.driver.clock.passes(1)
    web.driver.publish(lease)
    found = scrape(web)
    assert all(f"images{{state={state}}}" in found for state in State)
    timed = {
        state for state in State if found.get(f"stage_seconds_total{{stage={state}}}")
    }
    assert timed == {state for state in State if state.is_stage}
