"""The HTTP APIs' own descriptions: valid OpenAPI, and true of what the servers answer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from stream_app.core.settings import Settings
from stream_app.filter import openapi as of_filter
from stream_app.web.dashboard import api as api_module
from stream_app.web.dashboard import openapi as of_dashboard
from stream_app.web.dashboard.api import Api, Sources
from stream_app.web.dashboard.history import History
from stream_app.web.dashboard.sighting import of_label
from tests.dashboard_rig import made_label
from tests.unit.test_dashboard_history import record
from tests.unit.test_dashboard_page import ROUTES, TOKEN, serving

ASKED = {
    "/api/overview": {},
    "/api/route": {"route": "reviews"},
    "/api/by": {"route": "reviews", "by": "product"},
    "/api/text": {"route": "reviews", "id": "r/0/1"},
}
TEXT = {"title": "", "body": "A fine kettle.", "cut": False}


@pytest.mark.parametrize("needs_token", [True, False])
@pytest.mark.parametrize("of", [of_filter, of_dashboard], ids=["filter", "dashboard"])
def test_it_is_valid(of: Any, needs_token: bool):
    validate(of.description(needs_token))


def test_it_names_every_path_of_the_dashboard():
    sources = Sources(Settings(routes=ROUTES), *[None] * 4)
    served = {(r.path, r.method.lower()) for r in Api(sources, "", show_text=False).resources}
    described = of_dashboard.description(False)["paths"]
    assert served - {("/openapi.json", "get")} == {
        (path, method) for path, operations in described.items() for method in operations
    }


@pytest.mark.parametrize("path", ASKED)
async def test_an_answer_is_as_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
):
    monkeypatch.setattr(api_module, "text_of", lambda *_: TEXT)
    keep_labels(tmp_path / "history.db")
    async with serving(tmp_path, "secret", show_text=True) as (client, _):
        schema = answered(await description(client), path, "get", 200)
        async with client.get(path, params=ASKED[path], headers=TOKEN) as answer:
            assert answer.status == 200, await answer.text()
            check(await answer.json(), schema)


async def test_a_correction_is_taken_as_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(api_module, "correct", lambda *_: None)
    keep_labels(tmp_path / "history.db")
    told = {"route": "reviews", "id": "r/0/1", "label": "positive"}
    async with serving(tmp_path, "secret", show_text=True) as (client, _):
        described = await description(client)
        body = described["paths"]["/api/correction"]["post"]["requestBody"]["content"]
        check(told, body["application/json"]["schema"])
        async with client.post("/api/correction", json=told, headers=TOKEN) as answer:
            check(await answer.json(), answered(described, "/api/correction", "post", 200))
        async with client.post("/api/correction", json=told) as answer:
            assert answer.status == 401
            check(await answer.json(), answered(described, "/api/correction", "post", 401))


async def description(client: ClientSession) -> dict[str, Any]:
    """What the server says of itself."""
    async with client.get("/openapi.json") as answer:
        described: dict[str, Any] = await answer.json()
    return described


def answered(described: dict[str, Any], path: str, method: str, status: int) -> dict[str, Any]:
    responses = described["paths"][path][method]["responses"]
    schema: dict[str, Any] = responses[str(status)]["content"]["application/json"]["schema"]
    return schema


def check(answer: Any, schema: dict[str, Any]) -> None:
    """It is what the schema says, with no key that it does not know."""
    Draft202012Validator(closed(schema)).validate(answer)


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, without leave for other keys."""
    inner = {
        name: closed(value) if isinstance(value, dict) else value for name, value in schema.items()
    }
    return inner | {"additionalProperties": False} if "required" in schema else inner


def keep_labels(file: Path) -> None:
    """Labels of two products, a moment ago and in the period before."""
    labels = [
        made_label("r", number, ("positive", "negative")[number % 2], product, age=age)
        for number, (product, age) in enumerate([("kettle", 1), ("kettle", 4000), ("pan", 2)])
    ]
    history = History(file)
    seen = [of_label(record(label.model_dump_json().encode())) for label in labels]
    history.add(seen, {}, int(time.time()))
    history.close()
