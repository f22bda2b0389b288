"""The man pages, one a program: `make man` writes them to man/, and a wheel takes them along."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from manual.programs import PROGRAMS, Command, Option, commands
from stream_app import __version__

_SEE = (
    "The whole documentation is in the folder docs of the source, and built as a site by make docs."
)


def man_page(program: str) -> str:
    """A page of section 1."""
    first, *others = commands(program)
    summary = first.help.split(". ")[0]
    lines = [
        f'.TH {program.upper()} 1 "" "winnow {__version__}" "Winnow"',
        ".SH NAME",
        f"{_roff(program)} \\- {_roff(summary[0].lower() + summary[1:])}",
        ".SH SYNOPSIS",
        f".B {_roff(program)}",
        "COMMAND [OPTIONS]",
        ".SH OPTIONS",
        *(line for option in first.options for line in _option(option)),
        ".SH COMMANDS",
        *(line for command in others for line in _command(command)),
        ".SH EXIT STATUS",
        "0: success; 1: an error, or a part failed; 2: a wrong configuration or usage.",
        ".SH SEE ALSO",
        _roff(_SEE),
    ]
    return "\n".join(lines) + "\n"


def _command(command: Command) -> Iterator[str]:
    yield f".SS {_roff(command.synopsis)}"
    for paragraph in command.help.split("\n\n"):
        yield ".PP"
        yield _roff(" ".join(paragraph.split()))
    for each in (*command.arguments, *command.options):
        yield from _option(each)


def _option(option: Option) -> Iterator[str]:
    names = ", ".join(option.names) if option.names[0].startswith("-") else ""
    default = f" Default: {option.default}." if option.default else ""
    variable = f" Variable: {option.variable}." if option.variable else ""
    yield ".TP"
    yield f"\\fB{_roff(names)}\\fR \\fI{_roff(option.value)}\\fR"
    yield _roff(f"{option.help}{default}{variable}".strip() or "see above")


def _roff(text: str) -> str:
    """Plain text that no line of is a request; Markdown's code is bold."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    bold = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", escaped)
    return f"\\&{bold}" if bold.startswith((".", "'")) else bold


def main(folder: Path) -> None:
    """Write every page."""
    folder.mkdir(exist_ok=True)
    for program in PROGRAMS:
        (folder / f"{program}.1").write_text(man_page(program), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
