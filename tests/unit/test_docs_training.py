"""The docs know every command, option, format and gate of the trainer, and none that is gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from training.__main__ import app
from training.data.readers import READERS
from training.refreshing.gates import GATES

ROOT = Path(__file__).parents[2]
TRAINING = ROOT / "docs" / "training.md"
PAGES = {page: page.read_text() for page in sorted((ROOT / "docs").glob("*.md"))}
NAMED = re.compile(r"winnow-train ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")
MENTIONING = ("*.md", "*.py", "*.toml", "*.yml", "Makefile", "Dockerfile")


def commands(command: object, path: str = "winnow-train") -> dict[str, list[list[str]]]:
    """By its full name, the options of every command below this one; of a switch both ways."""
    below = getattr(command, "commands", None)
    if below is None:
        every = [option for option in command.params if option.param_type_name == "option"]  # type: ignore[attr-defined]
        return {path: [[option.opts[0], *option.secondary_opts] for option in every]}
    return {k: v for name, c in below.items() for k, v in commands(c, f"{path} {name}").items()}


COMMANDS = commands(typer.main.get_command(app))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_and_its_options_are_documented(command: str) -> None:
    pages = [text for text in PAGES.values() if re.search(rf"{command}\b(?!-)", text)]
    assert pages, f"docs/ does not say what {command} does"
    pages.append(PAGES[TRAINING])  # which has the options that many commands share
    lacking = [
        option
        for option, *other in COMMANDS[command]
        if not re.search(rf"(?<![\w-])({'|'.join([option, *other])})(?![\w-])", "\n".join(pages))
    ]
    assert lacking == [], f"docs/ does not say what these options of {command} do"


def test_no_command_is_mentioned_that_is_gone() -> None:
    known = {tuple(name.split()[1:]) for name in COMMANDS}
    firsts, groups = {path[0] for path in known}, {path[0] for path in known if path[1:]}
    gone = [
        f"{file.relative_to(ROOT)}: {found[0]}"
        for pattern in MENTIONING
        for file in ROOT.rglob(pattern)
        if not {".venv", ".git"} & set(file.parts) and file.name != "CHANGELOG.md"
        for found in NAMED.finditer(file.read_text())
        if found[1] not in firsts
        or (found[1] in groups and found[2] and found.groups() not in known)
    ]
    assert gone == []


def test_every_format_of_training_data_is_documented() -> None:
    page = PAGES[TRAINING]
    assert [ending for ending in READERS if ending.removesuffix(".gz") not in page] == []


def test_every_gate_is_documented() -> None:
    page = PAGES[ROOT / "docs" / "refresh.md"]
    names = [gate.__name__.replace("_", " ") for gate in GATES]
    assert [name for name in names if f"| {name} |" not in page] == []
