"""A real browser, Debian's Chromium, and a server for it to look at."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from werkzeug.serving import make_server

# Nothing but the page that is looked at may be fetched, on a machine without a network.
_QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@contextmanager
def browser(profile: Path, *, javascript: bool = True) -> Iterator[Chrome]:
    """Start a browser with an empty profile; skip the test where there is none."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs Debian's chromium and chromium-driver")
    options = ChromeOptions()
    options.binary_location = chromium
    for argument in (*_QUIET, f"--user-data-dir={profile}", "--window-size=1280,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if not javascript:
        setting = "profile.managed_default_content_settings.javascript"
        options.add_experimental_option("prefs", {setting: 2})
    chrome = Chrome(options=options, service=Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Serve an application on a free loopback port; give its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def seen(chrome: Chrome, css: str = "body") -> str:
    """Return the text that can be read in the first element of a page that matches."""
    return chrome.find_element(By.CSS_SELECTOR, css).text


def wait_for(chrome: Chrome, text: str, css: str = "body") -> None:
    """Wait until a text can be read, whichever pages come and go until then."""
    wait = WebDriverWait(
        chrome, 30, ignored_exceptions=[StaleElementReferenceException]
    )
    wait.until(lambda _: text in seen(chrome, css), f"{text!r} did not appear")


def complaints(chrome: Chrome) -> list[str]:
    """Return what the browser's console holds against a page, and forget it."""
    # get_log is what chromedriver has; selenium's own types do not know it.
    return [
        entry["message"]
        for entry in chrome.get_log("browser")  # type: ignore[no-untyped-call]
        if entry["level"] == "SEVERE"
    ]
