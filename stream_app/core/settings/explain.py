"""Configuration errors: the key, its value and the allowed values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError


def wrong(file: Path | None, lines: Sequence[str]) -> str:
    """The text of the error: where, then a line a problem."""
    return "\n".join([f"{file or 'environment'}: the configuration is wrong", *lines])


def problem(key: str, value: str, reason: str) -> str:
    """A line. `value` is as it is shown, '' where it is not."""
    return f"{key}{f' = {value}' if value else ''}: {reason}"


def allowed(names: Collection[str]) -> str:
    """Said of a value that is none of the names, as pydantic says it."""
    *others, last = (repr(name) for name in names)
    return f"Input should be {', '.join(others)} or {last}"


def explain(
    data: dict[str, Any], error: ValidationError, keys: Callable[[list[str]], list[str]]
) -> list[str]:
    """A line a problem. `keys` are those allowed in a section, given its path."""
    names = [str(route.get("name", "?")) for route in data.get("routes", {}).values()]
    lines = []
    problems = error.errors()
    if any(len(each["loc"]) > 2 for each in problems):  # a wrong route is no missing route
        problems = [each for each in problems if each["loc"] != ("routes",)]
    for each in problems:
        where = list(map(str, each["loc"]))
        if len(where) > 1 and where[0] == "routes" and where[1].isdigit():
            index = int(where[1])
            name = names[index] if index < len(names) else where[1]
            where[:2] = [f"routes[{name}]"]
        shown = _shown(each["input"], each["type"], where)
        reason = _reason(each["type"], each["msg"], where, keys)
        lines.append(problem(".".join(where) or "configuration", shown, reason))
    return lines


def _shown(value: Any, kind: str, where: list[str]) -> str:
    """The wrong value, unless it may be a secret: under its own key, or under one misspelt."""
    secret = kind == "extra_forbidden" or (where and where[-1].endswith("password"))
    return repr(value) if isinstance(value, (str, int, float)) and not secret else ""


def _reason(
    kind: str, message: str, where: list[str], keys: Callable[[list[str]], list[str]]
) -> str:
    if kind == "extra_forbidden":
        return f"no such key; there are: {', '.join(keys(where[:-1]))}"
    if kind == "missing":
        return "this key is required"
    return message.removeprefix("Value error, ")
