"""A broker that goes away and returns with its topics made anew: the page says so and goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_app.kafka.embedded_broker import EmbeddedBroker
from tests.browser.page import Page
from tests.conftest import free_port
from tests.dashboard_rig import Stage


@pytest.mark.errors_expected
def test_a_broker_goes_away_and_returns(page: Page, tmp_path: Path):
    port = free_port()
    broker = EmbeddedBroker(port)
    with broker:
        stage = Stage(broker.address, tmp_path)
        stage.create_topics()
        with stage.dashboard():
            for _ in range(3):
                stage.label("positive", "kept")
            page.open(f"{stage.url}/?route=reviews&by=product&value=kept&range=15m")
            page.until(lambda: page.tile("Labels") == "3", "labels")
            broker.__exit__(None, None, None)
            page.until(lambda: stage.address in page.text("#problem"), "that the broker is away")
            assert page.tile("Labels") == "3"
            with EmbeddedBroker(port):  # it kept nothing: its topics begin anew
                stage.create_topics()
                page.until(lambda: page.text("#problem") == "", "that it is back")
                late = stage.label("negative", "kept")
                page.until(lambda: late in page.text("#last"), "labels again")
                page.until(lambda: page.tile("Labels") == "4", "what was counted before as well")
