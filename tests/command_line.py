"""A program as its user has it: arguments in; exit code, output and errors out."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from typer import Typer
from typer.testing import CliRunner


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    returncode: int
    stdout: str
    stderr: str


def run_main(main: Callable[[], None], *arguments: str) -> Ended:
    """A program's entry point, in this process: one of its own would spend seconds on imports.

    What it raises besides SystemExit, a user would see as a traceback: here it fails the test.
    """
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    argv = patch.object(sys, "argv", ["program", *arguments])
    with argv, redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int | None), "sys.exit(text) would be said on stderr"
    return Ended(code or 0, out.getvalue(), err.getvalue())


def refuses(main: Callable[[], None], arguments: list[str], code: int, said: str) -> None:
    """Checks that a program ends with an exit code and a message, and shows no traceback."""
    done = run_main(main, *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def reported(app: Typer, *arguments: str | Path) -> Any:
    """What a command in this process reports as JSON."""
    result = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
