"""The reference of the HTTP APIs, from the descriptions (OpenAPI) that the servers give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from manual.tables import code, table
from stream_app.filter import openapi as of_filter
from stream_app.web.dashboard import openapi as of_dashboard

DESCRIPTIONS: Mapping[str, dict[str, Any]] = {
    "filter": of_filter.description(needs_token=True),
    "dashboard": of_dashboard.description(needs_token=True),
}
_ABOUT = {
    "filter": "`winnow filter` labels messages on request and takes corrections: [mail](mail.md). "
    "Its paths stay ([compatibility](compatibility.md)).",
    "dashboard": "What the page of `winnow dashboard` asks for: [reviews](reviews.md). It moves "
    "with the page.",
}
_INTRO = """# HTTP APIs

Both servers give their description (OpenAPI 3.1) at `/openapi.json`. With a `token_file` each
request must bring it: `Authorization: Bearer TOKEN`. Every process also answers `/metrics`,
`/healthz` and `/readyz` ([health](operations.md#health)).
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_INTRO, *(part for name in DESCRIPTIONS for part in _server(name))])


def _server(name: str) -> Iterator[str]:
    described = DESCRIPTIONS[name]
    yield f"## {described['info']['title']}\n"
    yield f"{_ABOUT[name]} The whole description: [{name}.openapi.json]({name}.openapi.json).\n"
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            yield f"### {method.upper()} {path}\n"
            yield f"{operation['summary']}.\n"
            yield from _operation(operation)


def _operation(operation: Mapping[str, Any]) -> Iterator[str]:
    if parameters := operation.get("parameters"):
        asked = [
            (code(p["name"]), p["in"], "yes" if p.get("required") else "", _values(p))
            for p in parameters
        ]
        yield table(("parameter", "in", "required", ""), asked)
    if body := operation.get("requestBody"):
        kinds = ", ".join(map(code, body["content"]))
        yield f"{body.get('description', 'The body')}: {kinds}.\n"
    rows = [
        (status, answer["description"], ", ".join(map(code, answer.get("content", ()))))
        for status, answer in operation["responses"].items()
    ]
    yield table(("status", "meaning", "body"), rows)


def _values(parameter: Mapping[str, Any]) -> str:
    values = ", ".join(code(value) for value in parameter["schema"].get("enum", ()))
    return parameter.get("description", "") or values
