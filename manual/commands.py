"""The reference of the command line, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from manual.programs import PROGRAMS, Command, Option, commands
from manual.tables import code, table

_INTRO = """# Command line

Every command, argument and option, as `--help` has them.
[Commands](commands.md) and [training](training.md) show them in use.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_INTRO, *(line for program in PROGRAMS for line in _program(program))])


def _program(program: str) -> Iterator[str]:
    for command in commands(program):
        level = "##" if command.words == program else "###"
        yield f"{level} {command.words}\n"
        yield f"```\n{command.synopsis}\n```\n"
        yield f"{command.help}\n"
        yield _table(command)


def _table(command: Command) -> str:
    rows = [_row(each) for each in (*command.arguments, *command.options)]
    return table(("option", "default", "meaning"), rows) if rows else ""


def _row(option: Option) -> tuple[str, str, str]:
    named = option.names[0].startswith("-")
    names = ", ".join(map(code, option.names)) if named else ""
    default = "required" if option.required else code(option.default)
    variable = f" Variable: {code(option.variable)}." if option.variable else ""
    return f"{names} {code(option.value)}".strip(), default, option.help + variable
