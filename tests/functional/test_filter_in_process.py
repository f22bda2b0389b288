"""Asking an engine of this process: the worker's path, without Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stream_app.core.errors import EngineError, EngineSick, NoLabel
from stream_app.core.metrics import Metrics
from stream_app.core.settings import Settings
from stream_app.engine.fake import FakeEngine
from stream_app.filter.in_process import InProcess, in_process
from stream_app.labeller import Labeller
from tests.fake_route import CARD, served
from tests.filter_answers import mail_route

MAIL = b"Subject: hello\r\nMessage-ID: <1@x>\r\n\r\nsome words\r\n"
ROUTE = mail_route(max_record_bytes=1000)


@asynccontextmanager
async def asking(engine: FakeEngine) -> AsyncIterator[tuple[InProcess, list[EngineSick]]]:
    sick: list[EngineSick] = []
    async with Labeller(ROUTE, served(engine), Metrics()) as labeller:
        yield InProcess({"mail": labeller}, sick.append), sick


async def test_a_label_record_names_the_message_and_no_offset():
    async with asking(FakeEngine(CARD.labels)) as (asker, _):
        first, second = [await asker.ask(ROUTE, MAIL, None) for _ in range(2)]
    assert first.route == "mail"
    assert first.source.message_id == "<1@x>"
    assert first.decision in CARD.labels
    assert "/" not in first.id  # no topic has it, so no correction may go by it
    assert first.id != second.id


@pytest.mark.parametrize(
    ("mail", "code"), [(b"", "malformed"), (b"Subject: x\r\n\r\n" + b"x" * 1000, "too_large")]
)
async def test_what_cannot_be_labelled_has_its_code(mail: bytes, code: str):
    async with asking(FakeEngine(CARD.labels)) as (asker, _):
        with pytest.raises(NoLabel) as raised:
            await asker.ask(ROUTE, mail, None)
    assert (raised.value.reason, raised.value.code) == ("dead_letter", code)


async def test_an_engine_that_is_sick_is_told_and_the_message_passes():
    def fail(batch: object) -> None:
        raise EngineError("broken")

    async with asking(FakeEngine(CARD.labels, fail)) as (asker, sick):
        with pytest.raises(NoLabel, match="failed"):
            await asker.ask(ROUTE, MAIL, None)
    assert len(sick) == 1


async def test_the_models_of_all_routes_are_loaded_and_label():
    routes = {
        "mail": {"format": "rfc822", "model": "builtin:spam"},
        "reviews": {"format": "text", "model": "builtin:reviews"},
    }
    for name, route in routes.items():
        route |= {"name": name, "input_topic": name, "output_topic": f"{name}.labels"}
    settings = Settings(routes=routes, engine={"threads": 1})
    async with in_process(settings, Metrics(), lambda sick: None) as asker:
        labels = await asyncio.gather(
            asker.ask(settings.route("mail"), MAIL, None),
            asker.ask(settings.route("reviews"), b"a lovely little film", None),
        )
    assert [label.model.name for label in labels] == ["spam", "reviews"]
    assert labels[1].label == "positive"
