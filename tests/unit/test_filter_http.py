"""The HTTP API: labels, problem documents, and a description that holds for both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from stream_app.core.errors import NoLabel
from stream_app.core.label_record import LabelRecord
from stream_app.filter import http
from tests.filter_answers import labelled
from tests.filter_api import LARGEST, MAIL, described, problem, serving


@pytest.mark.parametrize(
    ("route", "media_type"),
    [
        ("mail", "message/rfc822"),
        ("reviews", "application/json"),
        ("reviews", "application/json; charset=utf-8"),
        ("lines", "text/plain"),
    ],
)
async def test_a_message_is_answered_with_its_label_record(route: str, media_type: str):
    label = labelled("spam", route=route)
    async with serving(label) as (client, asker):
        headers = {"Content-Type": media_type}
        async with client.post(f"/v1/label/{route}", data=b"hello", headers=headers) as answer:
            assert answer.status == 200
            assert LabelRecord.model_validate_json(await answer.text()) == label
            assert await described(answer) == {"$ref": "#/components/schemas/LabelRecord"}
    assert [(name, value) for name, value, _ in asker.asked] == [(route, b"hello")]


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("late", 503),
        ("overloaded", 503),
        ("broker", 503),
        ("failed", 503),
        ("stopping", 503),
        ("too_large", 413),
    ],
)
async def test_a_message_without_a_label_is_answered_with_the_reason(reason: str, status: int):
    async with (
        serving(NoLabel(reason)) as (client, _),
        client.post("/v1/label/mail", data=b"secret words", headers=MAIL) as answer,
    ):
        assert (await problem(answer, status))["reason"] == reason
        assert b"secret" not in await answer.read()


async def test_a_message_that_cannot_be_labelled_is_answered_with_the_code():
    async with (
        serving(NoLabel("dead_letter", "malformed")) as (client, _),
        client.post("/v1/label/mail", data=b"x", headers=MAIL) as answer,
    ):
        assert (await problem(answer, 422))["code"] == "malformed"


async def test_what_is_not_to_be_answered_has_its_problem():
    async with serving(labelled()) as (client, asker):
        for path, headers, status in (
            ("/v1/label/none", MAIL, 404),
            ("/v1/label/mail", {"Content-Type": "text/plain"}, 415),
            ("/v1/label/reviews", MAIL, 415),
        ):
            async with client.post(path, data=b"x", headers=headers) as answer:
                await problem(answer, status)
        async with client.get("/v1/label/mail") as answer:
            await problem(answer, 405)
            assert answer.headers["Allow"] == "POST"
    assert asker.asked == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused(chunked: bool):
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * LARGEST

    body = pieces() if chunked else b"x" * (LARGEST + 1)
    async with (
        serving(labelled()) as (client, asker),
        client.post("/v1/label/mail", data=body, headers=MAIL) as answer,
    ):
        await problem(answer, 413)
    assert asker.asked == []


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http, "BODY_SECONDS", 0.05)
    never = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"
        await never.wait()

    async with (
        serving(labelled()) as (client, _),
        client.post("/v1/label/mail", data=pieces(), headers=MAIL) as answer,
    ):
        await problem(answer, 408)


@pytest.mark.parametrize(
    "given", [{}, {"Authorization": "Bearer other"}, {"Authorization": "Basic hush"}]
)
async def test_with_a_token_only_who_brings_it_is_answered(given: dict[str, str]):
    async with serving(labelled(), token="hush") as (client, asker):
        async with client.post("/v1/label/mail", data=b"x", headers=MAIL | given) as answer:
            await problem(answer, 401)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert asker.asked == []
        right = {"Authorization": "Bearer hush"}
        async with client.post("/v1/label/mail", data=b"x", headers=MAIL | right) as answer:
            assert answer.status == 200


async def test_the_description_is_the_code_s():
    async with serving(labelled()) as (client, _), client.get("/openapi.json") as answer:
        document = await answer.json()
    schema = document["components"]["schemas"]["LabelRecord"]
    assert set(schema["properties"]) == set(LabelRecord.model_fields)
    operations = [document["paths"][path]["post"] for path in (http.LABEL, http.CORRECT)]
    described = {status for each in operations for status in each["responses"]}
    assert described == {"200", "204", *map(str, http.PROBLEMS)}
    references = {part.split('"')[0] for part in json.dumps(document).split('"$ref": "')[1:]}
    for reference in references:
        found: Any = document
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
