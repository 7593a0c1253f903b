"""The pages of the queue in a real browser."""

from pathlib import Path

import pytest
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import url_to_be
from selenium.webdriver.support.wait import WebDriverWait

from tests.support.harness.web_app import TOKEN, WebApp
from tests.support.tools.browser import browser, complaints, serving, wait_for

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>alert(1)</script>"


@pytest.fixture
def job(web: WebApp) -> Job:
    queue = Queue(
        "conversions", connection=web.driver.connection, serializer=JSONSerializer
    )
    return queue.enqueue(
        "workers.jobs.run", "registry.example.org/a/b:c", description="a/b:c"
    )


def test_a_person_sees_the_queue_in_a_browser(
    web: WebApp, job: Job, tmp_path: Path
) -> None:
    job.description = HOSTILE
    job.save()
    with serving(web.app) as address, browser(tmp_path / "profile") as chrome:
        log_in(chrome, f"{address}/queue/")
        assert chrome.current_url == f"{address}/queue/"
        wait_for(chrome, "conversions")
        chrome.get(f"{address}/queue/0/view/jobs/conversions/queued/8/asc/1")
        wait_for(chrome, job.id)
        buttons = chrome.find_elements(By.CSS_SELECTOR, ".btn")
        assert not [b.text for b in buttons if b.is_displayed()]
        chrome.get(f"{address}/queue/0/view/job/{job.id}")
        wait_for(chrome, "<script>alert(1)</script>")
        assert chrome.title == "RQ dashboard"
        chrome.get(f"{address}/queue/0/view/workers")
        wait_for(chrome, "No workers.")
        assert not complaints(chrome)


def log_in(chrome: Chrome, address: str) -> None:
    chrome.get(address)
    chrome.find_element(By.ID, "token").send_keys(TOKEN)
    chrome.find_element(By.CSS_SELECTOR, "main button").click()
    # The click may be back before the page is: Chromium does not wait for a form.
    WebDriverWait(chrome, 60).until(url_to_be(address))
