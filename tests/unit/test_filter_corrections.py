"""Corrections over HTTP: what reaches the feedback topic, and what is refused, counted and told."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from stream_app.core.errors import NoLabel
from stream_app.core.feedback import Feedback
from stream_app.core.metrics import Metrics
from stream_app.core.settings import FilterSettings
from stream_app.filter import corrections
from stream_app.filter.corrections import Allowance, Corrections
from tests.filter_answers import labelled
from tests.filter_api import LARGEST, MAIL, problem, serving

TRUSTED = {"Authorization": "Bearer hush"}
PATH = "/v1/correct/mail"
SPAM_BY_ADA = {"label": "spam", "who": "ada@x.test"}
WORDS = b"X-Winnow-Id: in/0/7\r\nSubject: secret words\r\n\r\nand more of them\r\n"


class Topic:
    """Takes what is sent, once `open`, or fails as it is told."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.sent: list[tuple[str, Feedback, bytes | None]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def deliver(self, topic: str, value: bytes, key: bytes | None) -> str:
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        self.sent.append((topic, Feedback.model_validate_json(value), key))
        return "feedback/0/0"


class Desk:
    """A topic, and corrections on their way to it."""

    def __init__(self, failure: Exception | None = None, **given: object) -> None:
        self.topic = Topic(failure)
        self.metrics = Metrics()
        settings = FilterSettings(**{"deadline_seconds": 60} | given)
        self.corrections = Corrections(self.topic.deliver, "feedback", settings, self.metrics)

    def serving(self, token: str = "hush") -> Any:
        return serving(labelled(), token, self.corrections)

    def count(self, outcome: str) -> float:
        found = self.metrics.registry.get_sample_value(
            "winnow_corrections_total", {"route": "mail", "outcome": outcome}
        )
        return found or 0.0


async def test_a_mail_is_passed_on_as_its_words_and_an_id_in_it_is_not_believed():
    desk = Desk()
    async with (
        desk.serving() as (client, _),
        client.post(PATH, params=SPAM_BY_ADA, data=WORDS, headers=MAIL | TRUSTED) as answer,
    ):
        assert (answer.status, await answer.read()) == (204, b"")
    [(topic, told, key)] = desk.topic.sent
    assert (topic, key) == ("feedback", None)
    assert (told.label, told.who, told.route, told.id) == ("spam", "ada@x.test", "mail", None)
    assert told.text == "secret words\nand more of them"
    assert desk.count("taken") == 1


async def test_an_id_is_passed_on_without_the_message():
    desk = Desk()
    about = SPAM_BY_ADA | {"id": "in/3/41"}
    async with (
        desk.serving() as (client, _),
        client.post(PATH, params=about, headers=TRUSTED) as answer,
    ):
        assert answer.status == 204
    [(_, told, key)] = desk.topic.sent
    assert (told.id, told.text, key) == ("in/3/41", None, b"in/3/41")


@pytest.mark.parametrize(
    ("given", "body", "status", "reason"),
    [
        ({"who": "ada@x.test"}, WORDS, 400, "invalid"),
        ({"label": "spam"}, WORDS, 400, "invalid"),
        ({"label": "x" * 201, "who": "ada@x.test"}, WORDS, 400, "invalid"),
        (SPAM_BY_ADA | {"id": "other/0/1"}, b"", 400, "invalid"),
        (SPAM_BY_ADA | {"id": "in/0"}, b"", 400, "invalid"),
        (SPAM_BY_ADA, b"no mail at all", 422, "unreadable"),
        (SPAM_BY_ADA, b"Subject: \r\n\r\n", 422, "unreadable"),
    ],
)
async def test_what_is_no_correction_is_refused_with_the_reason_and_counted(
    given: dict[str, str],
    body: bytes,
    status: int,
    reason: str,
    caplog: pytest.LogCaptureFixture,
):
    desk = Desk()
    with caplog.at_level(logging.INFO):
        async with (
            desk.serving() as (client, _),
            client.post(PATH, params=given, data=body, headers=MAIL | TRUSTED) as answer,
        ):
            assert (await problem(answer, status))["reason"] == reason
    assert desk.topic.sent == []
    assert desk.count(reason) == 1
    assert reason in caplog.text
    assert "ada@" not in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("failure", "status", "reason"),
    [
        (NoLabel("broker"), 503, "broker"),
        (NoLabel("too_large"), 413, "too_large"),
        (ValueError("secret words"), 503, "failed"),
    ],
)
async def test_a_topic_that_does_not_take_it_is_told(
    failure: Exception, status: int, reason: str, caplog: pytest.LogCaptureFixture
):
    desk = Desk(failure)
    async with (
        desk.serving() as (client, _),
        client.post(PATH, params=SPAM_BY_ADA, data=WORDS, headers=MAIL | TRUSTED) as answer,
    ):
        assert (await problem(answer, status))["reason"] == reason
    assert desk.count(reason) == 1
    assert "secret" not in caplog.text


async def test_a_topic_that_does_not_answer_is_not_waited_for():
    desk = Desk(deadline_seconds=0.1)
    desk.topic.open.clear()
    async with (
        desk.serving() as (client, _),
        client.post(PATH, params=SPAM_BY_ADA, data=WORDS, headers=MAIL | TRUSTED) as answer,
    ):
        assert (await problem(answer, 503))["reason"] == "broker"


async def test_only_who_brings_the_token_is_heard_and_without_one_nobody():
    desk = Desk()
    async with desk.serving() as (client, _):
        for given in ({}, {"Authorization": "Bearer other"}):
            async with client.post(
                PATH, params=SPAM_BY_ADA, data=WORDS, headers=MAIL | given
            ) as answer:
                assert (await problem(answer, 401))["reason"] == "unauthorized"
    assert desk.count("unauthorized") == 2
    async with (
        desk.serving(token="") as (client, _),
        client.post(PATH, params=SPAM_BY_ADA, data=WORDS, headers=MAIL) as answer,
    ):
        await problem(answer, 501)
    assert desk.topic.sent == []


async def test_without_kafka_there_is_nobody_to_tell():
    async with (
        serving(labelled(), "hush") as (client, _),
        client.post(PATH, params=SPAM_BY_ADA, data=WORDS, headers=MAIL | TRUSTED) as answer,
    ):
        await problem(answer, 501)


async def test_requests_that_are_none_have_their_problem():
    async with Desk().serving() as (client, _):
        for method, path, headers, status in (
            ("POST", "/v1/correct/none", MAIL, 404),
            ("GET", PATH, MAIL, 405),
            ("POST", PATH, {"Content-Type": "text/plain"}, 415),
        ):
            async with client.request(
                method, path, params=SPAM_BY_ADA, data=b"x", headers=headers | TRUSTED
            ) as answer:
                await problem(answer, status)
        body = b"x" * (LARGEST + 1)
        async with client.post(
            PATH, params=SPAM_BY_ADA, data=body, headers=MAIL | TRUSTED
        ) as answer:
            await problem(answer, 413)


async def test_one_person_has_so_many_an_hour_and_another_her_own():
    desk = Desk(corrections_per_hour=2)
    async with desk.serving() as (client, _):
        for who, status in (("ada", 204), ("ada", 204), ("ada", 429), ("bob", 204)):
            about = {"label": "spam", "who": who, "id": "in/0/1"}
            async with client.post(PATH, params=about, headers=TRUSTED) as answer:
                assert answer.status == status
    assert [told.who for _, told, _ in desk.topic.sent] == ["ada", "ada", "bob"]
    assert desk.count("too_many") == 1


async def test_more_at_once_than_may_be_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(corrections, "MAX_AT_ONCE", 1)
    desk = Desk()
    desk.topic.open.clear()
    about = SPAM_BY_ADA | {"id": "in/0/1"}
    async with desk.serving() as (client, _):

        async def post() -> int:
            async with client.post(PATH, params=about, headers=TRUSTED) as answer:
                return answer.status

        posts = [asyncio.create_task(post()) for _ in range(2)]
        done, (waiting,) = await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED)
        assert [each.result() for each in done] == [503]
        assert desk.count("overloaded") == 1
        desk.topic.open.set()
        assert await waiting == 204


class TestAllowance:
    def test_it_comes_back_evenly(self):
        now = 0.0
        allowance = Allowance(60, lambda: now)
        assert [allowance.take("ada") for _ in range(61)] == [True] * 60 + [False]
        now = 59.0
        assert not allowance.take("ada")
        now = 60.0
        assert allowance.take("ada")
        now = 100_000.0
        assert [allowance.take("ada") for _ in range(61)] == [True] * 60 + [False]

    def test_it_remembers_so_many_people(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(corrections, "MAX_PEOPLE", 2)
        allowance = Allowance(1, lambda: 0.0)
        assert [allowance.take(who) for who in ("a", "b", "a", "c")] == [True, True, False, True]
        assert [allowance.take(who) for who in ("a", "b")] == [False, True]
