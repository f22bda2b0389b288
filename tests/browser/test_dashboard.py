"""The dashboard as its readers meet it: a real browser, real topics, labels while they come."""

from __future__ import annotations

from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from stream_app.core.headers import ERROR, ROUTE, SOURCE
from tests.browser.page import Page
from tests.dashboard_rig import Stage

HOSTILE = "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'//"


def route(stage: Stage, rest: str = "range=15m") -> str:
    return f"{stage.url}/?route=reviews&{rest}"


def product(stage: Stage, name: str) -> str:
    return route(stage, f"range=15m&by=product&value={name}")


def row_of(page: Page, name: str) -> list[str] | None:
    return next((row for row in page.rows() if row[0] == name), None)


def test_labels_appear_while_they_are_produced(stage: Stage, page: Page):
    stage.label("positive", "first")
    page.open(product(stage, "first"))
    page.until(lambda: page.tile("Labels") == "1", "the first label")
    for _ in range(4):
        stage.label("positive", "first")
    last = stage.label("negative", "first")
    page.until(lambda: last in page.text("#last"), "the last label")
    page.until(lambda: page.tile("Labels") == "6", "all six")
    assert page.tile("Net sentiment") == "+67"
    assert page.text("#last").count("positive") == 5
    assert page.text("#state") == "live"


def test_every_route_has_a_card_and_what_it_says(stage: Stage, page: Page):
    stage.label("positive", "card")
    page.open(f"{stage.url}/?range=15m")
    page.until(lambda: len(page.texts("#all > li")) == 2, "two cards")
    page.find("#all a[href*='route=mail']").click()
    page.until(lambda: page.text("h1") == "mail", "the page of mail")
    page.until(lambda: "No labels in this time" in page.text("#mix"), "what to do")
    assert "route=mail" in page.browser.current_url
    page.browser.back()
    page.until(lambda: page.text("h1") == "All routes", "all routes again")


def test_a_product_that_fell_leads_the_list_and_opens_its_own_page(stage: Stage, page: Page):
    for n in range(12):
        stage.label("positive", "fell", age=1200 + n)  # in the period before
        stage.label("negative", "fell", age=30)
        stage.label("positive", "stays", age=1200 + n)
        stage.label("positive", "stays", age=30)
    page.open(route(stage))
    page.until(lambda: row_of(page, "stays"), "the products")
    page.until(lambda: page.rows()[0][:4] == ["fell", "12", "-100", "-200"], "what moved most")
    page.find("#find").send_keys("ell")
    page.until(lambda: [row[0] for row in page.rows()] == ["fell"], "only what was looked for")
    assert "find=ell" in page.browser.current_url
    page.find("#by-rows a").send_keys(Keys.ENTER)  # by the keyboard
    page.until(lambda: page.text("h1") == "fell", "one product's page")
    page.until(lambda: page.tile("Net sentiment") == "-100", "its own figures")
    assert page.texts("#way a") == ["reviews"]
    weighed = page.find("#net").get_attribute("aria-label")
    assert weighed == "Net sentiment of fell: -100 at first, -100 at last"
    shared = page.browser.current_url
    page.open("about:blank")
    page.open(shared)
    page.until(lambda: page.text("h1") == "fell" and page.tile("Labels") == "12", "the same page")


def test_the_measure_and_the_order_are_a_readers_choice(stage: Stage, page: Page):
    for name, labels in {"alpha": 3, "beta": 5}.items():
        for _ in range(labels):
            stage.label("neutral", f"order-{name}")
    page.open(route(stage, "range=15m&find=order-"))
    page.until(lambda: len(page.rows()) == 2, "both")
    page.find("#measure option[value=neutral]").click()
    page.until(lambda: row_of(page, "order-beta")[2:3] == ["100%"], "the share of neutral")
    page.find("#by-head th:nth-child(2) button").click()
    page.until(
        lambda: [row[0] for row in page.rows()] == ["order-beta", "order-alpha"], "by volume"
    )
    assert {"measure=neutral", "sort=n"} <= set(page.browser.current_url.split("?")[1].split("&"))
    head = page.find("#by-head th:nth-child(2)")
    assert head.get_attribute("aria-sort") == "descending"


def test_ranges_place_records_by_their_own_time(stage: Stage, page: Page):
    for age in (0, 7200, 3 * 86_400, 20 * 86_400):
        stage.label("positive", "replayed", age=age)
    expected = {"15m": "1", "6h": "2", "7d": "3", "30d": "4"}
    page.open(product(stage, "replayed"))
    for name, labels in expected.items():
        page.find(f"#ranges li[data-key='{name}'] a").click()
        page.until(lambda labels=labels: page.tile("Labels") == labels, f"{labels} in {name}")


def test_dead_letters_are_counted_by_reason(stage: Stage, page: Page):
    letter = {ERROR: "malformed", ROUTE: "reviews", SOURCE: f"{stage.topic('reviews')}/0/99"}
    for _ in range(2):  # the same one, twice
        stage.send(f"{stage.topic('reviews')}.dlq", b"{", letter)
    page.open(route(stage))
    page.until(lambda: "malformed" in page.text("#dead"), "its reason")
    assert page.tile("Dead letters") == "1"


def test_hostile_names_are_text(stage: Stage, page: Page):
    scores = {HOSTILE: 0.9}
    for value in (HOSTILE, "__proto__", "constructor", "x" * 5000, "‮gnp.exe", ""):
        stage.label("negative", value)
    stage.label(HOSTILE, "victim", scores=scores, marks=[HOSTILE], id=HOSTILE)
    stage.send(f"{stage.topic('reviews')}.labels", b"<script>alert(1)</script>")
    letter = {ERROR: HOSTILE, ROUTE: "reviews", SOURCE: HOSTILE}
    stage.send(f"{stage.topic('reviews')}.dlq", b"", letter)
    page.open(route(stage, "range=15m&find=%3Cimg"))
    page.until(lambda: [row[0] for row in page.rows()] == [HOSTILE], "the name as it is")
    page.until(lambda: HOSTILE in page.text("#dead"), "the reason as it is")
    page.find("#by-rows a").click()
    page.until(lambda: page.text("h1") == HOSTILE and page.tile("Labels") == "1", "its page")
    page.open(product(stage, "victim"))
    page.until(lambda: HOSTILE in page.text("#mix-legend"), "the label as it is")
    page.until(lambda: HOSTILE in page.text("#last"), "the id as it is")
    page.open(f"{stage.url}/?route={HOSTILE}&by={HOSTILE}&range={HOSTILE}")
    page.until(lambda: "There is no route" in page.text("#problem"), "what is wrong")
    assert (
        page.browser.execute_script("return document.querySelectorAll('img[onerror]').length") == 0
    )
    assert "owned" not in page.browser.title.replace(HOSTILE, "")


@pytest.mark.errors_expected  # axe itself runs into the page's CSP
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(stage: Stage, page: Page, seen_by_axe: Any, scheme: str):
    stage.label("positive", "seen")
    stage.label("negative", "seen", decision="unsure")
    page.browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    for url in (f"{stage.url}/?range=15m", route(stage), product(stage, "seen")):
        page.open(url)
        page.until(lambda: page.texts("#last > li .chip"), "labels")
        assert seen_by_axe() == [], url
    page.find("#mix-table summary").click()
    page.until(lambda: page.texts("#mix-table td"), "the chart as a table")
    assert seen_by_axe() == []


def test_a_phone_needs_no_sideways_scrolling(stage: Stage, page: Page):
    stage.label("positive", "a-product-with-a-name-as-long-as-some-shops-have-them-in-their-lists")
    how = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    page.emulate("setDeviceMetricsOverride", **how)
    try:
        for url in (f"{stage.url}/?range=15m", route(stage)):
            page.open(url)
            page.until(lambda: page.texts("#last > li .chip"), "labels")
            wide = page.browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= 360, url
    finally:
        page.emulate("clearDeviceMetricsOverride")


def test_a_reader_can_stop_the_list(stage: Stage, page: Page):
    stage.label("positive", "stopped")
    page.open(product(stage, "stopped"))
    page.until(lambda: page.texts("#last > li .chip"), "the first")
    page.find("#pause").click()
    before = page.text("#last")
    late = stage.label("positive", "stopped")
    page.until(lambda: page.tile("Labels") == "2", "the figures go on")
    assert page.text("#last") == before
    page.find("#pause").click()
    page.until(lambda: late in page.text("#last"), "the list goes on")


@pytest.mark.errors_expected  # of the network
def test_the_page_reconnects_and_misses_nothing(stage: Stage, page: Page, tmp_path: Any):
    own = Stage(stage.address, tmp_path)
    own.create_topics()
    with own.dashboard():
        first = own.label("positive", "kept")
        page.open(product(own, "kept"))
        page.until(lambda: first in page.text("#last"), "the first label")
    page.until(lambda: "does not answer" in page.text("#problem"), "that nobody is there")
    missed = [own.label("positive", "kept") for _ in range(5)]
    with own.dashboard():
        page.until(lambda: all(each in page.text("#last") for each in missed), "what it missed")
        page.until(lambda: page.tile("Labels") == "6", "each once")
        page.until(lambda: page.text("#problem") == "", "that it is there again")


def test_many_open_pages_leave_a_connection_for_the_next(stage: Stage, page: Page):
    """A browser has six to a server: each page held one for its events, seen or not."""
    browser, first = page.browser, page.browser.current_window_handle
    try:
        for number in range(8):
            browser.switch_to.new_window("tab")
            page.open(product(stage, f"tab-{number}"))
            page.until(lambda: page.text("#state") == "live", "the page")
        late = stage.label("positive", "tab-7")
        page.until(lambda: late in page.text("#last"), "a label in the last tab")
    finally:
        for handle in browser.window_handles:
            if handle != first:
                browser.switch_to.window(handle)
                browser.close()
        browser.switch_to.window(first)


def test_a_wrong_address_says_what_to_do(stage: Stage, page: Page):
    page.open(f"{stage.url}/?route=nothing")
    page.until(lambda: "There is no route nothing" in page.text("#problem"), "what is wrong")
    page.find("#routes li:nth-child(2) a").click()
    page.until(lambda: page.text("#problem") == "", "nothing is wrong any more")


def test_nothing_of_the_page_comes_from_elsewhere(stage: Stage, page: Page, chromium: Chrome):
    page.open(route(stage))
    page.until(lambda: page.text("#state") == "live", "the page")
    script = "return performance.getEntriesByType('resource').map((each) => each.name)"
    assert all(name.startswith(stage.url) for name in chromium.execute_script(script))
    assert chromium.get_cookies() == []
    assert chromium.find_elements(By.CSS_SELECTOR, "[style*=expression], style") == []
