"""The pages in a real browser: what moves by itself, what needs no JavaScript."""

from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.support.harness.ledger import D1, REASON, REFERENCE
from tests.support.harness.web_app import FQRN, TOKEN, WebApp
from tests.support.tools.browser import browser, complaints, seen, wait_for
from webhook.dashboard import words
from workers.ledger import Progress, State

PAGE = f"/images/{REFERENCE}"
LONG = (
    "registry.example.org/a-group/with/many/levels/and-a-very-long-name-that-goes-on"
    "-and-on-and-on/image:v1.2.3-nightly-of-a-day-that-was-long-and-had-many-pushes"
)


def test_an_open_page_follows_an_image_until_it_is_live(
    web: WebApp, chrome: Chrome, address: str
) -> None:
    web.driver.push_public(D1)
    lease = web.driver.begin()
    chrome.get(f"{address}{PAGE}")
    assert "Looking up" in seen(chrome)
    progress = Progress(1, 2, 30, 100)
    web.driver.ledger.stage(lease, State.FETCHING, digest=D1, progress=progress)
    wait_for(chrome, "1 of 2 layers")
    bar = chrome.find_element(By.TAG_NAME, "progress")
    assert bar.get_attribute("value") == "30"
    web.driver.publish(lease)
    wait_for(chrome, "Yes. What the registry has is live.")
    assert "Live" in chrome.title
    assert "Published" in seen(chrome)
    assert not complaints(chrome)


def test_a_page_with_nothing_to_show_becomes_that_of_the_image(
    web: WebApp, chrome: Chrome, address: str
) -> None:
    web.driver.push(D1)
    chrome.get(f"{address}{PAGE}")
    assert "If it is yours, look after this" in seen(chrome)
    assert "docker pull" in seen(chrome)
    web.driver.publish(web.driver.begin())
    wait_for(chrome, "Yes. What the registry has is live.")
    assert "look after this" not in seen(chrome)
    # The browser tells its console of pages that are not found.
    assert all("404" in complaint for complaint in complaints(chrome))


def test_an_open_list_shows_a_push_by_itself(
    web: WebApp, chrome: Chrome, address: str
) -> None:
    web.driver.fail("registry.example.org/a/first:v1")
    web.driver.push_public(D1, "registry.example.org/a/second:v1")
    lease = web.driver.begin(reference="registry.example.org/a/second:v1")
    web.driver.ledger.stage(lease, State.FETCHING)
    chrome.get(address)
    assert "a/first" in seen(chrome)
    web.driver.push_public(D1, "registry.example.org/a/third:v1")
    wait_for(chrome, "a/third")
    wait_for(chrome, "Up to date by itself", "footer")
    assert not complaints(chrome)


def test_the_keyboard_stays_where_it_is_when_the_page_changes(
    web: WebApp, chrome: Chrome, address: str
) -> None:
    web.driver.push_public(D1)
    lease = web.driver.begin()
    chrome.get(address)
    link = f'.work a[href="{PAGE}"]'
    chrome.execute_script("document.querySelector(arguments[0]).focus()", link)
    progress = Progress(1, 2, 30, 100)
    web.driver.ledger.stage(lease, State.FETCHING, progress=progress)
    wait_for(chrome, "1 of 2 layers")
    assert chrome.switch_to.active_element.get_attribute("href") == f"{address}{PAGE}"


def test_a_page_works_without_javascript(
    web: WebApp, address: str, tmp_path: Path
) -> None:
    web.driver.make_live(D1)
    with browser(tmp_path / "profile", javascript=False) as plain:
        plain.get(address)
        plain.find_element(By.ID, "q").send_keys("analysis" + Keys.ENTER)
        wait_for(plain, "1 image matches")
        plain.find_element(By.CSS_SELECTOR, ".images a").click()
        wait_for(plain, "Yes. What the registry has is live.")
        assert "Copy" not in seen(plain)
        assert "Reload the page" in seen(plain, "footer")
        plain.get(f"{address}/login?next={PAGE}")
        plain.find_element(By.ID, "token").send_keys(TOKEN + Keys.ENTER)
        wait_for(plain, "Look at the registry again")
        assert plain.current_url == f"{address}{PAGE}"
        plain.find_element(By.CSS_SELECTOR, ".answer button").click()
        wait_for(plain, "It waits for a free worker.")
        assert web.queue.depth() == 1
        plain.find_element(By.CSS_SELECTOR, "header button").click()
        wait_for(plain, "Log in", "header")


def test_the_operator_logs_in_and_is_told_of_a_wrong_token(
    chrome: Chrome, address: str
) -> None:
    chrome.get(f"{address}/deliveries")
    field = chrome.find_element(By.ID, "token")
    assert chrome.switch_to.active_element == field
    field.send_keys("wrong" + Keys.ENTER)
    wait_for(chrome, "not the operator's token")
    chrome.find_element(By.ID, "token").send_keys(TOKEN + Keys.ENTER)
    wait_for(chrome, "Deliveries")
    assert chrome.current_url == f"{address}/deliveries"
    # Scripts of the page cannot read the session.
    assert chrome.execute_script("return document.cookie") == ""


@pytest.mark.parametrize("width", [320, 390, 800, 1280])
def test_no_page_is_wider_than_its_window(
    web: WebApp, chrome: Chrome, address: str, width: int
) -> None:
    web.driver.push_public(D1, LONG)
    web.driver.fail("registry.example.org/a/broken:v1", "x" * 500 + " " + REASON)
    web.driver.make_live(D1, LONG.replace("/image:", "/live:"))
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for path in ("/", f"/images/{LONG}", "/login", "/images/quay.io/a/never:v1"):
            chrome.get(f"{address}{path}")
            wide = chrome.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width, path
        chrome.get(f"{address}/images/{LONG.replace('/image:', '/live:')}")
        wide = chrome.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width
    finally:
        chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_whoever_cannot_see_the_page_finds_a_name_for_everything(
    web: WebApp, chrome: Chrome, address: str
) -> None:
    web.driver.push_public(D1)
    lease = web.driver.begin()
    web.driver.ledger.stage(lease, State.FETCHING, progress=Progress(1, 2, 3, 4))
    web.driver.fail("registry.example.org/a/broken:v1")
    for path in ("/", PAGE, "/login", "/images/quay.io/a/never:v1"):
        chrome.get(f"{address}{path}")
        nodes = chrome.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        roles = {"link", "button", "textbox", "searchbox", "progressbar", "image"}
        for node in nodes:
            if node.get("role", {}).get("value") in roles and not node["ignored"]:
                assert node["name"]["value"], (path, node)
        assert len(chrome.find_elements(By.TAG_NAME, "h1")) == 1
        assert chrome.find_element(By.TAG_NAME, "html").get_attribute("lang") == "en"


def test_the_command_to_run_it_is_copied_at_a_click(
    web: WebApp, chrome: Chrome, address: str
) -> None:
    web.driver.make_live(D1)
    chrome.get(f"{address}{PAGE}")
    chrome.find_element(By.CSS_SELECTOR, "[data-copy=exec]").click()
    wait_for(chrome, "Copied", "[data-copy=exec]")
    chrome.get(address)
    field = chrome.find_element(By.ID, "q")
    field.send_keys(Keys.CONTROL, "v")
    pasted = field.get_attribute("value")
    assert pasted == f"apptainer exec /cvmfs/{FQRN}/{REFERENCE} bash"


def test_the_browser_says_the_same_words_as_the_server(
    chrome: Chrome, address: str
) -> None:
    chrome.get(address)
    moments = [-200_000, -86_400, -7200, -61, -60, -59, -5, -4, 0, 1, 2, 59, 61, 7201]
    for moment in moments:
        script = "return relative(arguments[0], 0)"
        assert chrome.execute_script(script, moment) == words.relative(moment, 0)
