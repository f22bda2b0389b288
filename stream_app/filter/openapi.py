"""What the HTTP API says of itself (OpenAPI 3.1), made of what the handlers use."""

from __future__ import annotations

from typing import Any

from stream_app import __version__
from stream_app.codecs import CODECS
from stream_app.core.label_record import LabelRecord

LABEL = "/v1/label/{route}"
CORRECT = "/v1/correct/{route}"
PROBLEMS = {  # titles by status
    400: "The correction is not valid",
    401: "The bearer token is missing or wrong",
    404: "There is no such route",
    405: "Only POST is answered here",
    408: "The message did not come in time",
    413: "The message is too large",
    415: "The route takes messages of another media type",
    422: "The message cannot be labelled",
    429: "This person has corrected too much for now",
    501: "Corrections need Kafka, and a token in filter.token_file",
    503: "It cannot be done now",
}
_PROBLEM = {
    "description": "A problem document (RFC 9457)",
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"enum": list(PROBLEMS.values())},
        "status": {"enum": list(PROBLEMS)},
        "reason": {"type": "string", "description": "400, 401, 413, 422, 429, 503: why"},
        "code": {"type": "string", "description": "of the dead letter; empty for other reasons"},
    },
}
_REF = "#/components/schemas/"
_STRING = {"schema": {"type": "string"}}
_SEVERAL = {"schema": {"type": "array", "minItems": 1, "items": {"type": "string"}}}
_ROUTE = {"name": "route", "in": "path", "required": True} | _STRING


def description(needs_token: bool) -> dict[str, Any]:
    """The whole document."""
    record = LabelRecord.model_json_schema(ref_template=_REF + "{model}")
    parts = record.pop("$defs", {})
    bearer = {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Winnow", "version": __version__},
        "paths": {LABEL: {"post": _labels()}, CORRECT: {"post": _corrections()}},
        "components": {
            "schemas": {"LabelRecord": record, "Problem": _PROBLEM, **parts},
            **(bearer if needs_token else {}),
        },
        "security": [{"bearer": []}] if needs_token else [],
    }


def _labels() -> dict[str, Any]:
    return {
        "summary": "The label of a message",
        "operationId": "label",
        "parameters": [_ROUTE],
        "requestBody": _message() | {"required": True},
        "responses": {
            "200": _response("The label record", "application/json", "LabelRecord"),
            **_problems(401, 404, 405, 408, 413, 415, 422, 503),
        },
    }


def _corrections() -> dict[str, Any]:
    given: dict[str, tuple[bool, str, dict[str, Any]]] = {
        "label": (True, "The right one; of several labels a text, one each", _SEVERAL),
        "who": (True, "The person who says so", _STRING),
        "id": (False, "Of the label record; the message is then not needed", _STRING),
    }
    return {
        "summary": "What would have been the right label of a message",
        "operationId": "correct",
        "parameters": [
            _ROUTE,
            *(
                {"name": name, "in": "query", "required": needed, "description": text} | schema
                for name, (needed, text, schema) in given.items()
            ),
        ],
        "requestBody": _message(),
        "responses": {
            "204": {"description": "It is on the feedback topic"},
            **_problems(*PROBLEMS),
        },
    }


def _message() -> dict[str, Any]:
    return {
        "description": "The raw message, of a media type of the route's format",
        "content": {name: {} for codec in CODECS.values() for name in codec.media_types},
    }


def _problems(*statuses: int) -> dict[str, Any]:
    return {
        str(status): _response(PROBLEMS[status], "application/problem+json", "Problem")
        for status in statuses
    }


def _response(text: str, media_type: str, schema: str) -> dict[str, Any]:
    content = {media_type: {"schema": {"$ref": f"{_REF}{schema}"}}}
    return {"description": text, "content": content}
