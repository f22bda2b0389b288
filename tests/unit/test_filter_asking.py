"""FailOpen: whoever asks gets a label or a reason, and each message is counted."""

from __future__ import annotations

import asyncio

import pytest

from stream_app.core.errors import NoLabel
from stream_app.core.metrics import Metrics
from stream_app.core.settings import FilterSettings
from stream_app.filter.asking import FailOpen, key_of
from tests.filter_answers import Answers, labelled, mail_route

PATIENT = FilterSettings(deadline_seconds=60)


def counted(metrics: Metrics, outcome: str) -> float | None:
    labels = {"route": "mail", "outcome": outcome}
    return metrics.registry.get_sample_value("winnow_filter_messages_total", labels)


async def answer(asker: Answers, settings: FilterSettings = PATIENT, size: int = 10) -> str:
    """The outcome of a message, which must be what is counted."""
    metrics = Metrics()
    found = await FailOpen(asker, settings, metrics).ask(
        mail_route(max_record_bytes=99), b"x" * size
    )
    outcome = found.reason if isinstance(found, NoLabel) else "labelled"
    assert counted(metrics, outcome) == 1
    assert metrics.registry.get_sample_value("winnow_filter_in_flight") == 0
    return outcome


async def test_a_label_is_handed_on():
    assert await answer(Answers(labelled())) == "labelled"


@pytest.mark.parametrize("reason", ["broker", "dead_letter", "too_large", "failed"])
async def test_a_reason_is_handed_on(reason: str):
    assert await answer(Answers(NoLabel(reason))) == reason


async def test_an_error_that_nobody_foresaw_is_a_reason_without_its_text(
    caplog: pytest.LogCaptureFixture,
):
    assert await answer(Answers(KeyError("the text of the mail"))) == "failed"
    assert "KeyError in" in caplog.text
    assert "the text of the mail" not in caplog.text


async def test_a_label_that_does_not_come_is_late():
    asker = Answers(labelled())
    asker.open.clear()
    assert await answer(asker, FilterSettings(deadline_seconds=0.1)) == "late"


async def test_a_message_larger_than_the_route_takes_is_not_asked_about():
    asker = Answers(labelled())
    assert await answer(asker, size=100) == "too_large"
    assert asker.asked == []


@pytest.mark.parametrize(
    ("settings", "room"), [({"max_in_flight": 2}, 10**6), ({"max_in_flight": 100}, 20)]
)
async def test_no_more_wait_than_may_in_number_and_bytes(settings: dict[str, int], room: int):
    asker, metrics, route = Answers(labelled()), Metrics(), mail_route(max_in_flight_bytes=room)
    asker.open.clear()
    front = FailOpen(asker, PATIENT.model_copy(update=settings), metrics)
    waiting = [asyncio.create_task(front.ask(route, b"x" * 10)) for _ in range(2)]
    for _ in waiting:
        await asker.arrived.acquire()
    assert metrics.registry.get_sample_value("winnow_filter_in_flight") == 2
    refused = await front.ask(route, b"x" * 10)
    assert isinstance(refused, NoLabel)
    assert refused.reason == "overloaded"
    asker.open.set()
    assert all(not isinstance(found, NoLabel) for found in await asyncio.gather(*waiting))
    assert not isinstance(await front.ask(route, b"x" * 10), NoLabel)


async def test_a_single_message_may_be_larger_than_all_that_may_wait():
    front = FailOpen(Answers(labelled()), PATIENT, Metrics())
    assert not isinstance(await front.ask(mail_route(max_in_flight_bytes=5), b"x" * 10), NoLabel)


async def test_who_waits_when_it_is_told_to_stop_gets_an_answer_and_so_do_later_ones():
    asker = Answers(labelled())
    asker.open.clear()
    front = FailOpen(asker, PATIENT, Metrics())
    waiting = asyncio.create_task(front.ask(mail_route(), b"x"))
    await asker.arrived.acquire()
    front.stop()
    for found in (await waiting, await front.ask(mail_route(), b"x")):
        assert isinstance(found, NoLabel)
        assert found.reason == "stopping"


async def test_a_message_whose_time_is_up_as_it_is_told_to_stop_is_no_trouble():
    """Its time-out has expired, and its task has not run yet."""
    asker = Answers(labelled())
    asker.open.clear()
    front = FailOpen(asker, FilterSettings(deadline_seconds=0.1), Metrics())
    waiting = asyncio.create_task(front.ask(mail_route(), b"x"))
    await asker.arrived.acquire()
    loop = asyncio.get_running_loop()
    expired = loop.time() + 0.2
    while loop.time() < expired:  # the loop is busy, so its timers are behind
        pass

    async def stop() -> None:
        await asyncio.sleep(0)  # a turn after the timer, and before the task that waits
        front.stop()

    await asyncio.create_task(stop())
    assert isinstance(await waiting, NoLabel)


@pytest.mark.parametrize(
    ("mail", "key"),
    [
        (b"Subject: x\r\nMessage-ID: <a@b>\r\n\r\nhello", b"<a@b>"),
        (b"message-id:\r\n <a@b>\r\n\r\nhello", b"<a@b>"),
        (b"MESSAGE-ID : <a@b> (a comment)\n\nhello", b"<a@b>"),
        (b"Message-ID:\r\nFrom: ada\r\n\r\nhello", None),
        (b"Subject: x\r\n\r\nMessage-ID: <a@b>\r\n", None),
        (b"X-Message-ID: <a@b>\r\n\r\n", None),
        (b'{"text": "Message-ID: <a@b>"}', None),
        (b"Message-ID: " + b"a" * 5000 + b"\n\n", b"a" * 1000),
        (b"", None),
    ],
)
def test_the_key_is_the_message_id(mail: bytes, key: bytes | None):
    assert key_of(mail) == key
