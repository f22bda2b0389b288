"""What the HTTP API says of itself (OpenAPI 3.1), made of what the handlers use."""

from __future__ import annotations

from typing import Any

from stream_app import __version__
from stream_app.codecs import CODECS
from stream_app.core.label_record import LabelRecord

PATH = "/v1/label/{route}"
PROBLEMS = {  # titles by status
    401: "The bearer token is missing or wrong",
    404: "There is no such route",
    405: "Only POST is answered here",
    408: "The message did not come in time",
    413: "The message is too large",
    415: "The route takes messages of another media type",
    422: "The message cannot be labelled",
    503: "There is no label now",
}
_PROBLEM = {
    "description": "A problem document (RFC 9457)",
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"enum": list(PROBLEMS.values())},
        "status": {"enum": list(PROBLEMS)},
        "reason": {"type": "string", "description": "413, 422 and 503: why there is no label"},
        "code": {"type": "string", "description": "of the dead letter; empty for other reasons"},
    },
}
_REF = "#/components/schemas/"


def description(needs_token: bool) -> dict[str, Any]:
    """The whole document."""
    record = LabelRecord.model_json_schema(ref_template=_REF + "{model}")
    parts = record.pop("$defs", {})
    operation = {
        "summary": "The label of a message",
        "operationId": "label",
        "parameters": [
            {"name": "route", "in": "path", "required": True, "schema": {"type": "string"}}
        ],
        "requestBody": {
            "required": True,
            "description": "The raw message, of a media type of the route's format",
            "content": {name: {} for codec in CODECS.values() for name in codec.media_types},
        },
        "responses": {
            "200": _response("The label record", "application/json", "LabelRecord"),
            **{
                str(status): _response(title, "application/problem+json", "Problem")
                for status, title in PROBLEMS.items()
            },
        },
    }
    bearer = {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Winnow", "version": __version__},
        "paths": {PATH: {"post": operation}},
        "components": {
            "schemas": {"LabelRecord": record, "Problem": _PROBLEM, **parts},
            **(bearer if needs_token else {}),
        },
        "security": [{"bearer": []}] if needs_token else [],
    }


def _response(text: str, media_type: str, schema: str) -> dict[str, Any]:
    content = {media_type: {"schema": {"$ref": f"{_REF}{schema}"}}}
    return {"description": text, "content": content}
