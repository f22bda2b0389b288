"""One Chromium and one dashboard for the tests of the page; each test has names of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tests.browser.page import Page
from tests.dashboard_rig import Stage

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
    "--lang=en-GB",
)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Debian's Chromium."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no Chromium here: apt-packages.txt names it")
    options = ChromeOptions()
    options.binary_location = program
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options=options, service=Service(driver))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def stage(tansu: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A running dashboard of two routes, without a token."""
    made = Stage(tansu, tmp_path_factory.mktemp("dashboard"))
    made.create_topics()
    with made.dashboard():
        yield made


@pytest.fixture
def page(chromium: Chrome, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page; at its end nothing may have gone wrong in it."""
    chromium.get("about:blank")
    chromium.get_log("browser")
    shown = Page(chromium)
    yield shown
    chromium.get("about:blank")
    if not request.node.get_closest_marker("errors_expected"):
        assert shown.errors() == []


@pytest.fixture(scope="session")
def axe() -> str:
    """The accessibility checker."""
    return (Path(__file__).parent / "axe.min.js").read_text(encoding="utf-8")
