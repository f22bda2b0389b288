"""A dashboard with a token: no data without it; with --show-text texts, and corrections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from stream_app.core.feedback import Feedback
from stream_app.core.label_record import ModelVersion
from tests.browser.page import Page
from tests.dashboard_rig import Stage

pytestmark = pytest.mark.errors_expected  # a 401 is one for a browser
TOKEN = "over-the-hills-and-far-away"
HOSTILE = "<img src=x onerror=alert(1)> {{7*7}} ${name}"


@pytest.fixture(scope="module")
def guarded(tansu: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "token").write_text(f"{TOKEN}\n")
    made = Stage(tansu, folder, token_file=str(folder / "token"))
    made.create_topics()
    with made.dashboard("--show-text"):
        yield made


def open_with(page: Page, token: str) -> None:
    page.find("#token").send_keys(token)
    page.find("#token-dialog button").click()


def open_as_known(page: Page, url: str) -> None:
    """The page with its data; an earlier test may have left the token in the browser, or not."""
    page.open(url)
    page.until(lambda: page.text("#token-dialog") or page.text("#last button"), "either of both")
    if "token" in page.text("#token-dialog"):
        open_with(page, TOKEN)


def test_a_reader_types_the_token_and_corrects_a_label(
    guarded: Stage, page: Page, seen_by_axe: Any
):
    review = {"title": HOSTILE, "text": "It broke. " * 900}
    record = guarded.send(guarded.topic("reviews"), json.dumps(review).encode())
    guarded.label("positive", "told", id=record)
    page.open(f"{guarded.url}/?route=reviews&by=product&value=told&range=15m")
    page.until(lambda: "asks for a token" in page.text("#token-dialog"), "the question")
    assert record not in page.browser.page_source
    assert seen_by_axe() == []
    open_with(page, "wrong")
    page.until(lambda: "This is not the token" in page.text("#token-dialog"), "that it is wrong")
    open_with(page, TOKEN)
    page.until(lambda: record in page.text("#last"), "the label")

    page.find("#last button").click()
    page.until(lambda: page.text("#text-title") == HOSTILE, "the title as it is")
    assert page.text("#text-body").startswith("It broke. It broke.")
    assert page.text("#text-body").endswith("…")
    assert seen_by_axe() == []
    page.find("#right option[value=negative]").click()
    page.find("#correction button[type=submit]").click()
    page.until(lambda: "Sent: it is negative" in page.text("#text-dialog"), "that it went out")
    told = Feedback.model_validate_json(guarded.feedback()[0])
    assert (told.id, told.label, told.route, told.who) == (
        record,
        "negative",
        "reviews",
        "dashboard",
    )


def test_of_several_labels_a_reader_says_all_that_are_right(
    guarded: Stage, page: Page, seen_by_axe: Any
):
    record = guarded.send(guarded.topic("reviews"), b'{"text": "It broke, and they paid me back."}')
    guarded.label(
        "positive",
        "several",
        id=record,
        labels=["neutral", "positive"],
        decisions=["positive"],
        model=ModelVersion(name="tags", version="1", digest="0" * 64, problem="multi_label"),
    )
    open_as_known(page, f"{guarded.url}/?route=reviews&by=product&value=several&range=15m")
    page.until(lambda: "neutral 5%, positive 90%" in page.text("#last"), "the scores of both")
    assert page.text("#last .chip") == "positive", "which alone may be acted on"
    noted = "counts for each of its labels"
    page.until(lambda: noted in page.text("#mix-note"), "the figures, which come after the label")
    page.find("#last button").click()
    page.until(lambda: "they paid me back" in page.text("#text-body"), "the text")
    assert seen_by_axe() == []
    page.find("#right option[value=positive]").click()  # it is chosen already: no more
    page.find("#right option[value=negative]").click()
    page.find("#correction button[type=submit]").click()
    page.until(lambda: "Sent: it is negative, neutral." in page.text("#text-dialog"), "both")


def test_a_text_that_is_gone_is_said(guarded: Stage, page: Page):
    guarded.label("positive", "gone", id=f"{guarded.topic('reviews')}/0/99999")
    open_as_known(page, f"{guarded.url}/?route=reviews&by=product&value=gone&range=15m")
    page.find("#last button").click()
    page.until(lambda: "no longer on its topic" in page.text("#text-body"), "why there is none")
