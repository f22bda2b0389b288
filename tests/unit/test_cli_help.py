"""The command line as a stranger meets it: help, versions, errors, exit codes, a quick start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from stream_app import __version__
from stream_app.__main__ import app, main
from stream_app.core.errors import BrokerError
from stream_app.kafka import connect
from tests.command_line import refuses, run_main

COMMANDS = [
    "demo",
    "worker",
    "filter",
    "sink",
    "topics",
    "classify",
    "produce",
    "ingest",
    "watch",
    "dashboard",
    "dlq",
    "review",
    "correct",
    "models",
    "config",
    "broker",
]


def leaves(command: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every command below this one."""
    below = getattr(command, "commands", None)
    if below is None:
        return [path]
    return [leaf for name, child in below.items() for leaf in leaves(child, (*path, name))]


ALL = leaves(typer.main.get_command(app))


def test_help_names_every_command() -> None:
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    for command in COMMANDS:
        assert re.search(rf"^│ {command} ", text, re.MULTILINE), command


def test_completion_for_another_shell_is_refused() -> None:
    ended = run_main(main, "--show-completion", "zsh")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "give it alone, in zsh" in ended.stderr


def test_no_command_is_without_help() -> None:
    assert {path[0] for path in ALL} == set(COMMANDS)
    for path in ALL:
        result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})
        assert result.exit_code == 0
        assert len(result.output.split("Options")[0].split()) > 6, path


def test_version() -> None:
    run = [sys.executable, "-m", "stream_app", "--version"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=180, check=False)
    assert (done.returncode, done.stdout) == (0, f"winnow {__version__}\n")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from stream_app.__main__ import main; sys.argv = ['winnow', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print({'torch', 'transformers', 'faust'} & set(sys.modules))"
    )
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, timeout=180, check=True)
    assert done.stdout.endswith("set()\n")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["worker"], 2, "--config"),
        (["worker", "--config", "nowhere.toml"], 2, "nowhere.toml: No such file"),
        (["nonsense"], 2, "nonsense"),
        (["watch"], 2, "--config FILE, or --topic"),
        (["classify", "--model", "builtin:nothing"], 1, "builtin:nothing does not exist"),
        (["classify", "--model", "models:/spam@champion"], 1, "there is no model registry at"),
        (["produce", "--topic", "t", "nowhere.mbox"], 1, "nowhere.mbox: there is no such file"),
    ],
)
def test_an_error_says_what_and_has_an_exit_code(
    arguments: list[str], code: int, said: str
) -> None:
    refuses(main, arguments, code, said)


def test_no_broker_is_said_with_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "CONNECT_SECONDS", 0.2)
    command = ["produce", "--topic", "t", "--bootstrap-servers", "127.0.0.1:1", str(tmp_path)]
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, BrokerError)
    assert "the Kafka broker at 127.0.0.1:1 does not answer" in str(result.exception)


@pytest.mark.parametrize("program", ["stream_app", "training"])
def test_without_asserts_nothing_runs(program: str) -> None:
    """kafka-python decodes wrongly then: a worker would wait for a broker that answers."""
    done = subprocess.run(
        [sys.executable, "-OO", "-m", program, "--help"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "PYTHONOPTIMIZE" in done.stderr


@pytest.mark.parametrize("program", ["winnow", "winnow-train"])
def test_a_shell_learns_to_complete_commands(program: str, tmp_path: Path) -> None:
    shell = (
        f"PATH={Path(sys.executable).parent}:$PATH; {program} --install-completion && cat ~/.bashrc"
    )
    done = subprocess.run(
        ["bash", "-c", shell],
        env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert f".bash_completions/{program}.sh" in done.stdout


def test_a_half_typed_command_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_WINNOW_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "winnow d")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert run_main(main).stdout.split() == ["demo", "dashboard", "dlq"]


def test_no_color_is_respected() -> None:
    run = [sys.executable, "-m", "stream_app", "--help"]
    coloured, plain = (
        subprocess.run(run, env=os.environ | env, capture_output=True, text=True, timeout=180)
        for env in ({"FORCE_COLOR": "1"}, {"FORCE_COLOR": "1", "NO_COLOR": "1"})
    )
    colour = re.compile(r"\x1b\[[\d;]*\b3\d")  # bold and dim are no colours
    assert colour.search(coloured.stdout)
    assert not colour.search(plain.stdout)
