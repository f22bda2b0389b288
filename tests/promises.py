"""What docs/compatibility.md promises, held against the schemas of releases.

After a release keep its schemas:  python -m tests.promises 0.3.0
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stream_app.core.feedback import Feedback
from stream_app.core.label_record import LabelRecord
from stream_app.core.settings import Settings
from stream_app.model.artifact import ModelCard

FOLDER = Path(__file__).parent / "compatibility"
READ = {"configuration": Settings, "feedback": Feedback, "model-card": ModelCard}  # by Winnow
WRITTEN = {"label-record": LabelRecord}  # and read by others

Schema = Mapping[str, Any]


def schemas() -> dict[str, dict[str, Any]]:
    """What this version reads and writes."""
    return {
        **{name: model.model_json_schema() for name, model in READ.items()},
        **{name: model.model_json_schema(mode="serialization") for name, model in WRITTEN.items()},
    }


def broken(name: str, old: Schema, new: Schema) -> list[str]:
    """Where this version no longer keeps what an old one promised, in words."""
    wide, narrow = (old, new) if name in WRITTEN else (new, old)
    return [*_gone(old, new, old, new, name), *_refused(wide, narrow, wide, narrow, name)]


def _gone(old: Schema, new: Schema, olds: Schema, news: Schema, at: str) -> Iterator[str]:
    """Keys that have left."""
    old, new = _plain(old, olds), _plain(new, news)
    for key, was in old.get("properties", {}).items():
        if key in new.get("properties", {}):
            yield from _gone(was, new["properties"][key], olds, news, f"{at}.{key}")
        else:
            yield f"{at}.{key} is gone"
    if "items" in old and "items" in new:
        yield from _gone(old["items"], new["items"], olds, news, f"{at}[]")


def _refused(
    wide: Schema, narrow: Schema, wides: Schema, narrows: Schema, at: str
) -> Iterator[str]:
    """Where a document of the narrow schema is none of the wide one; other keys are let pass."""
    wide, narrow = _plain(wide, wides), _plain(narrow, narrows)
    for key in set(wide.get("required", ())) - set(narrow.get("required", ())):
        yield f"{at}.{key} is required on one side only"
    yield from (f"{at}: {kind} on one side only" for kind in _kinds(narrow) - _kinds(wide))
    if "enum" in wide:
        given = set(narrow.get("enum", ["anything"]))
        yield from (f"{at}: {value!r} on one side only" for value in given - set(wide["enum"]))
    for bound, within in (("minimum", max), ("exclusiveMinimum", max), ("maximum", min)):
        if bound in wide:
            given = narrow.get(bound)
            if given is None or within(given, wide[bound]) != given:
                yield f"{at}: {bound} {wide[bound]} and {given}"
    if wide.get("pattern", narrow.get("pattern")) != narrow.get("pattern"):
        yield f"{at}: patterns {wide['pattern']} and {narrow.get('pattern')}"
    for key in wide.get("properties", {}).keys() & narrow.get("properties", {}).keys():
        one, other = wide["properties"][key], narrow["properties"][key]
        yield from _refused(one, other, wides, narrows, f"{at}.{key}")
    for inside in ("items", "additionalProperties"):
        if isinstance(wide.get(inside), dict) and isinstance(narrow.get(inside), dict):
            yield from _refused(wide[inside], narrow[inside], wides, narrows, f"{at}[]")


def _plain(schema: Schema, whole: Schema) -> Schema:
    """The schema itself, where this one only names it, or lets it be null."""
    if "$ref" in schema:
        return _plain(whole["$defs"][schema["$ref"].rsplit("/", 1)[1]], whole)
    some = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    return {**_plain(some[0], whole), "anyOf": schema["anyOf"]} if len(some) == 1 else schema


def _kinds(schema: Schema) -> set[str]:
    """JSON types it takes; an integer is a number too."""
    kinds = {each.get("type", "object") for each in schema.get("anyOf", [schema])}
    return kinds | {"integer"} if "number" in kinds else kinds


def main(version: str) -> None:
    """Keep the schemas of a release."""
    folder = FOLDER / version
    folder.mkdir(parents=True)
    for name, schema in schemas().items():
        (folder / f"{name}.json").write_text(json.dumps(schema, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
