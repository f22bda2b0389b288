"""The programs as typer has them: every command with its help, arguments and options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

from stream_app.__main__ import app as winnow
from training.__main__ import app as winnow_train

PROGRAMS: Mapping[str, Any] = {
    "winnow": typer.main.get_command(winnow),
    "winnow-train": typer.main.get_command(winnow_train),
}

_NAMES = {Path: "PATH", int: "N", float: "NUMBER"}


@dataclass(frozen=True)
class Option:
    """An option or an argument; `value` is what it takes, "" for a switch."""

    names: tuple[str, ...]
    value: str
    required: bool
    default: str
    variable: str
    help: str


@dataclass(frozen=True)
class Command:
    """A command that does something, or a program itself."""

    words: str  # as typed: winnow dlq list
    help: str  # Markdown
    arguments: tuple[Option, ...]
    options: tuple[Option, ...]

    @property
    def synopsis(self) -> str:
        """How it is typed."""
        arguments = [a.value if a.required else f"[{a.value}]" for a in self.arguments]
        needed = [f"{o.names[0]} {o.value}" for o in self.options if o.required]
        optional = ["[OPTIONS]"] if any(not o.required for o in self.options) else []
        return " ".join([self.words, *needed, *optional, *arguments])


def commands(program: str) -> Iterator[Command]:
    """A program itself, then every command below it that is no mere group."""
    command = PROGRAMS[program]
    yield _described(program, command)
    yield from _below(program, command)


def _below(words: str, command: Any) -> Iterator[Command]:
    for name, child in command.commands.items():
        if hasattr(child, "commands"):
            yield from _below(f"{words} {name}", child)
        else:
            yield _described(f"{words} {name}", child)


def _described(words: str, command: Any) -> Command:
    kinds = get_type_hints(command.callback)
    made = [(each.param_type_name, _option(each, kinds.get(each.name))) for each in command.params]
    return Command(
        words,
        command.help or "",
        tuple(option for kind, option in made if kind == "argument"),
        tuple(option for kind, option in made if kind == "option"),
    )


def _option(parameter: Any, kind: Any) -> Option:
    switch = getattr(parameter, "is_flag", False)
    default = parameter.default
    return Option(
        names=(*parameter.opts, *parameter.secondary_opts),
        value="" if switch else _value(parameter, kind),
        required=parameter.required,
        default="" if switch or default in (None, "") or parameter.required else str(default),
        variable=parameter.envvar or "",
        help=getattr(parameter, "help", None) or "",
    )


def _value(parameter: Any, kind: Any) -> str:
    """Its metavar, or what its type says: `list[Path] | None` is a PATH."""
    while get_origin(kind) not in (None, Literal):
        kind = get_args(kind)[0]
    choices = "|".join(map(str, get_args(kind)))
    given = parameter.metavar or choices or _NAMES.get(kind, "TEXT")
    return f"{given}…" if parameter.nargs == -1 else str(given)
