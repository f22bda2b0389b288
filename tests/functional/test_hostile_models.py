"""Models made to harm: each is refused with a reason, in bounded time and memory."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from stream_app.__main__ import app
from stream_app.core.errors import ModelError
from stream_app.model.references import resolve
from tests.hostile import Hostile, sound
from tests.hostile_models import HOSTILE, HOSTILE_WEIGHTS
from tests.kernels import COMPILED

MEMORY = 3 * 2**30  # of a process that refuses one; torch is in it
TEXT = b"a good text\n"


def classified(folder: Path, engine: str) -> Result:
    text = folder.parent / "text.txt"
    text.write_bytes(TEXT)
    command = ["classify", "--model", str(folder), "--engine", engine, "--device", "cpu"]
    return CliRunner().invoke(app, [*command, str(text)])


@pytest.mark.parametrize("engine", ["fake", COMPILED, "packed", "reference"])
def test_the_sound_one_labels(tmp_path: Path, engine: str):
    result = classified(sound(tmp_path / "model"), engine)
    assert result.exit_code == 0, result.exception
    assert '"label": "spam"' in result.stdout


@pytest.mark.parametrize("hostile", HOSTILE, ids=str)
def test_a_hostile_model_is_refused_with_a_reason(tmp_path: Path, hostile: Hostile):
    folder = sound(tmp_path / "model")
    hostile.change(folder)
    refused(folder, "fake", hostile)


@pytest.mark.parametrize("engine", [COMPILED, "packed", "reference"])
@pytest.mark.parametrize("hostile", HOSTILE_WEIGHTS, ids=str)
def test_hostile_weights_are_refused_by_every_engine(tmp_path: Path, hostile: Hostile, engine: str):
    folder = sound(tmp_path / "model")
    hostile.change(folder)
    refused(folder, engine, hostile)


def refused(folder: Path, engine: str, hostile: Hostile) -> None:
    result = classified(folder, engine)
    assert isinstance(result.exception, ModelError), result.exception
    said = str(result.exception)
    assert re.search(hostile.says, said), said
    assert len(said) < 1000
    assert said.isprintable(), "what it says is no one's terminal's business"
    assert result.stdout == ""


WORST = (
    "a header of 90 MB",
    "weights of a terabyte",
    "a deep config",
    "a billion layers",
    "too many pieces",
    "the pattern (a+)+b",
    "buckets without end",
)


@pytest.mark.parametrize("name", WORST)
def test_a_refusal_takes_little_memory_and_ends(tmp_path: Path, name: str):
    [hostile] = [each for each in (*HOSTILE, *HOSTILE_WEIGHTS) if each.name == name]
    folder = sound(tmp_path / "model")
    hostile.change(folder)
    command = [sys.executable, "-m", "stream_app", "classify", "--engine", "packed"]
    done = subprocess.run(
        [*command, "--device", "cpu", "--model", folder],
        input=TEXT,
        capture_output=True,
        timeout=200,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY)),
    )
    assert done.returncode in (1, 2)
    assert done.stdout == b""
    [line] = done.stderr.decode().strip().splitlines()
    assert line.startswith("winnow: ")
    assert re.search(hostile.says, line)


def test_a_link_within_the_folder_is_no_harm(tmp_path: Path):
    folder = sound(tmp_path / "model")
    (folder / "weights").mkdir()
    (folder / "model.safetensors").rename(folder / "weights" / "1")
    (folder / "model.safetensors").symlink_to("weights/1")
    assert resolve(str(folder)).card.labels == ("ham", "spam")


def test_the_links_of_the_hubs_cache_are_followed(tmp_path: Path):
    blobs, folder = tmp_path / "m" / "blobs", tmp_path / "m" / "snapshots" / "0123"
    folder.parent.mkdir(parents=True)
    sound(folder)
    blobs.mkdir()
    for file in folder.iterdir():
        file.rename(blobs / file.name)
        file.symlink_to(Path("../../blobs") / file.name)
    assert resolve(str(folder)).card.labels == ("ham", "spam")
