"""Small data files, a recipe and an encoder for the tests of `training`."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from collections.abc import Iterable
from pathlib import Path

from tests.tiny_model import RARE

LABELS = ("ham", "spam")
WORDS = ["a", "short", "text", "that", "any", "working", "model", "can", "score"]
RECIPE = """
name = "tiny"
version = "7"
description = "for tests"
labels = ["ham", "spam"]
max_tokens = 24

[hyper]
epochs = 6
batch_size = 16
learning_rate = 0.005
warmup_steps = 5

[[sources]]
file = "mail.tar.gz"
use = "split"
terms = "ours"

[[sources]]
file = "more.jsonl.gz"
use = "develop"
terms = "ours too"
rows = 150
"""


def words(number: int) -> tuple[str, str]:
    """A label and a text that gives it away, another for each number."""
    chance = random.Random(number)
    label = chance.choice(LABELS)
    mark = RARE if label == "spam" else "good"
    return label, " ".join(chance.choices([*WORDS, mark, mark, mark], k=16)) + f" {mark}"


def write_mail(file: Path, mails: Iterable[tuple[str, bytes]]) -> None:
    """A tar of `<label>/<number>`."""
    with tarfile.open(file, "w:gz") as archive:
        for number, (label, content) in enumerate(mails):
            member = tarfile.TarInfo(f"{label}/{number:04}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_rows(file: Path, rows: Iterable[tuple[str, str]]) -> None:
    """A .jsonl.gz of id, text and label."""
    with gzip.open(file, "wt") as lines:
        for number, (label, text) in enumerate(rows):
            lines.write(json.dumps({"id": f"r{number}", "text": text, "label": label}) + "\n")


def write_data(folder: Path) -> Path:
    """The recipe's data files and the recipe itself; the path of the recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    mails = [
        (label, f"Subject: {text}\n\n{text}\n".encode()) for label, text in map(words, range(200))
    ]
    write_mail(folder / "mail.tar.gz", mails)
    write_rows(folder / "more.jsonl.gz", map(words, range(1000, 1200)))
    recipe = folder / "tiny.toml"
    recipe.write_text(RECIPE)
    return recipe
