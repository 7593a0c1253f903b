"""The pages in a real browser."""

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome

from tests.support.harness.web_app import WebApp
from tests.support.tools.browser import browser, serving


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def address(web: WebApp, chrome: Chrome) -> Iterator[str]:
    with serving(web.app) as found:
        yield found
        chrome.get("about:blank")
    chrome.delete_all_cookies()
