"""What is wrong with a configuration, said by the key, its value and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError


def explain(
    file: Path | None,
    data: dict[str, Any],
    error: ValidationError,
    keys: Callable[[list[str]], list[str]],
) -> str:
    """A line a problem. `keys` are those allowed in a section, given its path."""
    names = [str(route.get("name", "?")) for route in data.get("routes", {}).values()]
    lines = []
    problems = error.errors()
    if any(len(problem["loc"]) > 2 for problem in problems):  # a wrong route is no missing route
        problems = [problem for problem in problems if problem["loc"] != ("routes",)]
    for problem in problems:
        where = list(map(str, problem["loc"]))
        if len(where) > 1 and where[0] == "routes" and where[1].isdigit():
            index = int(where[1])
            name = names[index] if index < len(names) else where[1]
            where[:2] = [f"routes[{name}]"]
        shown = _shown(problem["input"], problem["type"], where)
        reason = _reason(problem["type"], problem["msg"], where, keys)
        lines.append(f"{'.'.join(where) or 'configuration'}{shown}: {reason}")
    return "\n".join([f"{file or 'environment'}: the configuration is wrong", *lines])


def _shown(value: Any, kind: str, where: list[str]) -> str:
    """The wrong value, unless it may be a secret: under its own key, or under one misspelt."""
    secret = kind == "extra_forbidden" or (where and where[-1].endswith("password"))
    return f" = {value!r}" if isinstance(value, (str, int, float)) and not secret else ""


def _reason(
    kind: str, message: str, where: list[str], keys: Callable[[list[str]], list[str]]
) -> str:
    if kind == "extra_forbidden":
        return f"no such key; there are: {', '.join(keys(where[:-1]))}"
    if kind == "missing":
        return "this key is required"
    return message.removeprefix("Value error, ")
