"""docs/compatibility.md: what a release read and wrote, later ones read and write too."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.promises import FOLDER, broken, schemas

RELEASES = sorted(FOLDER.glob("*/*.json"))
Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize("kept", RELEASES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_what_a_release_promised_is_kept(kept: str):
    old = json.loads(kept.read_text(encoding="utf-8"))
    assert broken(kept.stem, old, schemas()[kept.stem]) == []


def route(schema: dict[str, Any]) -> dict[str, Any]:
    return schema["$defs"]["RouteSettings"]


def source(schema: dict[str, Any]) -> dict[str, Any]:
    return schema["$defs"]["Source"]


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("configuration", lambda s: s["properties"].pop("filter"), "filter is gone"),
        ("configuration", lambda s: route(s)["properties"].pop("delivery"), "delivery is gone"),
        (
            "configuration",
            lambda s: route(s)["required"].append("delivery"),
            "delivery is required",
        ),
        ("configuration", lambda s: route(s)["properties"]["delivery"]["enum"].pop(), "once"),
        (
            "configuration",
            lambda s: route(s)["properties"]["max_batch_delay_seconds"].update(maximum=1),
            "maximum 1",
        ),
        (
            "configuration",
            lambda s: route(s)["properties"]["max_batch_records"].update(type="string"),
            "integer on one side",
        ),
        (
            "configuration",
            lambda s: route(s)["properties"]["min_confidence"]["anyOf"].pop(),
            "null on one side",
        ),
        ("label-record", lambda s: s["properties"].pop("decision"), "decision is gone"),
        ("label-record", lambda s: source(s)["required"].remove("offset"), "offset is required"),
        (
            "label-record",
            lambda s: source(s)["properties"]["offset"].update(type="string"),
            "string",
        ),
        (
            "label-record",
            lambda s: s["properties"]["label"].update(
                type=None, anyOf=[{"type": "string"}, {"type": "null"}]
            ),
            "null on one side",
        ),
    ],
)
def test_a_broken_promise_is_noticed(name: str, change: Change, said: str):
    old, new = schemas()[name], deepcopy(schemas()[name])
    change(new)
    assert any(said in problem for problem in broken(name, old, new)), broken(name, old, new)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("configuration", lambda s: s["properties"].update(new={"type": "string"})),
        (
            "configuration",
            lambda s: route(s)["properties"]["delivery"]["enum"].append("at_most_once"),
        ),
        ("configuration", lambda s: route(s)["required"].remove("model")),
        ("label-record", lambda s: s["properties"].update(new={"type": "string"})),
        ("label-record", lambda s: source(s)["required"].append("new")),
    ],
)
def test_an_addition_breaks_nothing(name: str, change: Change):
    old, new = schemas()[name], deepcopy(schemas()[name])
    change(new)
    assert broken(name, old, new) == []
