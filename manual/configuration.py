"""The reference of the configuration: keys, types and bounds of the settings themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from manual.meanings import meanings
from manual.tables import code, table
from stream_app.core.settings import PREFIX, Settings

_INTRO = """# Configuration

Every key of the file, with its type and bounds, and the variables that override it.
[Operations](operations.md#configuration) says how the file is read.
"""
_BOUNDS = {
    "minimum": "≥",
    "exclusiveMinimum": ">",
    "maximum": "≤",
}
Schema = Mapping[str, Any]


def page() -> str:
    """The whole page."""
    schema = Settings.model_json_schema()
    return "\n".join([_INTRO, *_sections(schema)])


def _sections(schema: Schema) -> Iterator[str]:
    for name, field in schema["properties"].items():
        several = "items" in field
        reference = (field["items"] if several else field)["$ref"]
        section = schema["$defs"][reference.rsplit("/", 1)[1]]
        heading = f"`[[{name}]]`" if several else f"`[{name}]`"
        said = meanings(f"### {heading}")
        variable = f"{PREFIX}{name.upper()}__" + ("<NAME>__" if several else "") + "<KEY>"
        rows = [
            (
                code(key),
                _type(about),
                "required" if key in section.get("required", ()) else code(_default(about)),
                said[key],
            )
            for key, about in section["properties"].items()
        ]
        yield f"## {heading}\n\nVariables: `{variable}`\n"
        yield table(("key", "type", "default", "meaning"), rows)


def _default(about: Schema) -> str:
    return json.dumps(about["default"]) if "default" in about else "{}"


def _type(about: Schema) -> str:
    if "enum" in about:
        return " ".join(code(json.dumps(value)) for value in about["enum"])
    if "anyOf" in about:
        return " or ".join(_type(each) for each in about["anyOf"])
    kind: str = about.get("type", "string")
    if kind == "array":
        kind = f"list of {about['items'].get('type', 'string')}s"
    bounds = [f"{sign} {code(str(about[name]))}" for name, sign in _BOUNDS.items() if name in about]
    return ", ".join([kind, *bounds])
