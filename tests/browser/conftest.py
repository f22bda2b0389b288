"""One Chromium and one dashboard for the tests of the page; each test has names of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def chromium_at(folder: Path) -> Iterator[Chrome]:
    """A Chromium with a profile of its own."""
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in (*ARGUMENTS, f"--user-data-dir={folder}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Debian's Chromium."""
    if None in (shutil.which("chromium"), shutil.which("chromedriver")):
        pytest.skip("no Chromium here: apt-packages.txt names it")
    with chromium_at(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


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


@pytest.fixture
def seen_by_axe(page: Page) -> Callable[[], list[str]]:
    """What the accessibility checker finds wrong with what is shown."""
    checker = (Path(__file__).parent / "axe.min.js").read_text(encoding="utf-8")

    def check() -> list[str]:
        page.browser.execute_script(checker)
        script = "axe.run({ resultTypes: ['violations'] }).then(arguments[0], arguments[0])"
        found = page.browser.execute_async_script(script)
        return [
            f"{each['impact']} {each['id']}: {[node['html'][:200] for node in each['nodes'][:3]]}"
            for each in found["violations"]
        ]

    return check
