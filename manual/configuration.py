"""The reference of the configuration: keys, types and bounds of the settings themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

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
    return "\n".join([_INTRO, *(_section(name) for name in Settings.model_fields)])


def _section(name: str) -> str:
    """`[name]`, or `[[name]]` where the file may have several."""
    kind: Any = Settings.model_fields[name].annotation
    several = get_args(kind)
    section: type[BaseModel] = several[0] if several else kind
    heading = f"`[[{name}]]`" if several else f"`[{name}]`"
    said = meanings(f"### {heading}")
    variable = f"{PREFIX}{name.upper()}__" + ("<NAME>__" if several else "") + "<KEY>"
    rows = [
        (code(key), _type(about), _default(section.model_fields[key]), said[key])
        for key, about in section.model_json_schema()["properties"].items()
    ]
    head = f"## {heading}\n\nVariables: `{variable}`\n\n"
    return head + table(("key", "type", "default", "meaning"), rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return code(json.dumps(to_jsonable_python(field.get_default(call_default_factory=True))))


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
