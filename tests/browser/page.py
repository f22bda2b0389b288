"""The dashboard's page as a reader has it: what stands there, what can be clicked and typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.dashboard_rig import PATIENCE


class Page:
    """What a reader sees."""

    def __init__(self, browser: Chrome) -> None:
        self.browser = browser

    def open(self, url: str) -> None:
        """Go to an address."""
        self.browser.get(url)

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until something holds; the page is drawn again meanwhile."""
        wait = WebDriverWait(
            self.browser, PATIENCE, 0.05, ignored_exceptions=[StaleElementReferenceException]
        )
        return wait.until(lambda _: condition(), f"{what}; the page says: {self.text()}")

    def find(self, selector: str) -> WebElement:
        """The first element, once it is there."""
        return self.until(
            lambda: next(iter(self.browser.find_elements(By.CSS_SELECTOR, selector)), None),
            f"no {selector}",
        )

    def texts(self, selector: str) -> list[str]:
        """What stands in each element that is seen."""
        script = (
            "return [...document.querySelectorAll(arguments[0])]"
            ".filter((e) => e.checkVisibility()).map((e) => e.innerText.trim())"
        )
        return list(self.browser.execute_script(script, selector))

    def text(self, selector: str = "body") -> str:
        """What stands in an element."""
        return "\n".join(self.texts(selector))

    def tile(self, name: str) -> str:
        """The number of a tile, "" where there is none."""
        for each in self.texts("#tiles > div"):
            title, _, rest = each.partition("\n")
            if title == name:
                return rest.split("\n")[0]
        return ""

    def rows(self) -> list[list[str]]:
        """The comparison by a pass field: its cells, row by row."""
        script = (
            "return [...document.querySelectorAll('#by-rows tr')]"
            ".map((row) => [...row.cells].map((cell) => cell.innerText.trim()))"
        )
        return list(self.browser.execute_script(script))

    def errors(self) -> list[str]:
        """What the browser complained about: scripts that fail, what the CSP forbids."""
        return [each["message"] for each in self.browser.get_log("browser")]

    def emulate(self, command: str, **how: Any) -> None:
        """Have the browser be another: `Emulation.…` of Chromium's protocol."""
        self.browser.execute_cdp_cmd(f"Emulation.{command}", how)
