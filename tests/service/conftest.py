"""The pages in a real browser."""

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome

from tests.support.harness.web_app import Site
from tests.support.tools.browser import browser, serving


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def address(site: Site, chrome: Chrome) -> Iterator[str]:
    with serving(site.app) as found:
        yield found
        chrome.get("about:blank")
    chrome.delete_all_cookies()
