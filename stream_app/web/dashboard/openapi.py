"""What the page's data say of themselves (OpenAPI 3.1), for other programs that want them."""

from __future__ import annotations

from typing import Any

from stream_app import __version__
from stream_app.web.dashboard.windows import RANGES

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_COUNTS = {"type": "object", "additionalProperties": _COUNT}
_SERIES = {"type": "array", "items": _COUNT}
_MAYBE = {"type": ["number", "null"]}
_MEASURES = {"type": "object", "additionalProperties": _MAYBE}
_LINES = {"type": "array", "items": {"type": "object"}, "description": "the last labels"}
_NAMES = {"type": "array", "items": _TEXT}

_VIEW = {  # of a route, or of one value of a pass field
    "times": {**_SERIES, "description": "where each bucket starts, in seconds since the epoch"},
    "step": {**_COUNT, "description": "seconds of a bucket"},
    "labels": {"type": "object", "additionalProperties": _SERIES},
    "unsure": _SERIES,
    "several": {"type": "boolean", "description": "whether records have several labels"},
    "total": {**_COUNT, "description": "labelled records"},
    "before": {**_COUNT, "description": "labels in the period before"},
    "total_unsure": _COUNT,
    "measured": _MEASURES,
    "measured_before": _MEASURES,
    "dead": {**_COUNTS, "description": "dead letters by code"},
    "models": {**_COUNTS, "description": "labels by the model that made them"},
    "waits": {**_MEASURES, "description": "seconds from record to label: p50, p95, p99"},
    "waited": {"type": "object", "additionalProperties": {"type": "array", "items": _MAYBE}},
    "lag": {"type": ["integer", "null"], "description": "records that wait for a worker"},
    "rate": {"type": "number", "description": "labels a second, of late"},
    "fields": {**_NAMES, "description": "pass fields that it can be asked by"},
}
_ONE = {
    **_VIEW,
    "now": _COUNT,
    "drift": {"type": "object", "additionalProperties": {"type": "number"}},
    "silent": {**_NAMES, "description": "workers that do not answer"},
    "measures": _NAMES,
    "last": _LINES,
}
_ROW = {
    "value": _TEXT,
    "n": _COUNT,
    "before": _COUNT,
    "measure": _MAYBE,
    "change": _MAYBE,
    "volumes": _SERIES,
    "line": {"type": "array", "items": _MAYBE},
}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _either(properties: dict[str, Any], one_of: dict[str, Any]) -> dict[str, Any]:
    """An object with all of some properties, and one of others."""
    either = [{"required": [name]} for name in one_of]
    return {**_object(properties), "properties": properties | one_of, "oneOf": either}


def _array(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": _object(properties)}


_OVERVIEW = {
    "version": _TEXT,
    "text": {"type": "boolean", "description": "whether texts are shown"},
    "routes": _array({"name": _TEXT, **_VIEW}),
    "last": _LINES,
}
_BY = {"measure": _TEXT, "all": _COUNT, "found": _COUNT, "rows": _array(_ROW)}
_SHOWN = {"title": _TEXT, "body": _TEXT, "cut": {"type": "boolean"}}
_CORRECTION = {"route": _TEXT, "id": _TEXT}
_RIGHT = {"label": _TEXT, "labels": {**_NAMES, "description": "instead, of several labels a text"}}

_RANGE = {"range": {"enum": list(RANGES), "default": "1h"}}
_ROUTE = {"route": _TEXT}
_PROBLEMS = {
    400: "The question makes no sense",
    401: "The token is missing or wrong",
    403: "Text is not shown, or the page was asked by another name than localhost",
    404: "There is no such route or record",
    503: "The broker does not answer",
}


def description(needs_token: bool) -> dict[str, Any]:
    """The whole document."""
    bearer = {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Winnow dashboard", "version": __version__},
        "paths": {
            "/api/overview": {"get": _get("Every route in short", _OVERVIEW, _RANGE)},
            "/api/route": {
                "get": _get(
                    "A route, or one value of a pass field",
                    _ONE,
                    _ROUTE | _RANGE,
                    {"by": _TEXT, "value": _TEXT},
                )
            },
            "/api/by": {
                "get": _get(
                    "The values of a pass field, what moved most first",
                    _BY,
                    _ROUTE | {"by": _TEXT} | _RANGE,
                    {"find": _TEXT, "measure": _TEXT, "sort": _TEXT, "most": _COUNT},
                )
            },
            "/api/events": {"get": _events()},
            "/api/text": {
                "get": _get(
                    "The text of a label, with --show-text", _SHOWN, {**_ROUTE, "id": _TEXT}
                )
            },
            "/api/correction": {"post": _correction()},
        },
        "components": bearer if needs_token else {},
        "security": [{"bearer": []}] if needs_token else [],
    }


def _get(
    summary: str,
    answer: dict[str, Any],
    asked: dict[str, Any],
    also: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """`asked` are parameters that are required where they have no default."""
    parameters = [
        {"name": name, "in": "query", "required": "default" not in schema, "schema": schema}
        for name, schema in asked.items()
    ]
    parameters += [{"name": n, "in": "query", "schema": s} for n, s in (also or {}).items()]
    return {
        "summary": summary,
        "parameters": parameters,
        "responses": {"200": _answer(summary, _object(answer)), **_problems()},
    }


def _events() -> dict[str, Any]:
    text = "`labels`, each with the number of its last as id, and `status`, as server-sent events"
    content = {"text/event-stream": {"schema": _TEXT}}
    return {
        "summary": "The labels as they come",
        "parameters": [{"name": "Last-Event-ID", "in": "header", "schema": _TEXT}],
        "responses": {"200": {"description": text, "content": content}, **_problems()},
    }


def _correction() -> dict[str, Any]:
    return {
        "summary": "The right label of one, with --show-text",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _either(_CORRECTION, _RIGHT)}},
        },
        "responses": {
            "200": _answer("It is sent", _object({"sent": {"const": True}})),
            **_problems(),
        },
    }


def _problems() -> dict[str, Any]:
    return {str(s): _answer(text, _object({"error": _TEXT})) for s, text in _PROBLEMS.items()}


def _answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}
