"""Models made to harm whoever loads them: each is a sound tiny one with one thing changed."""

from __future__ import annotations

import base64
import json
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save_file

from stream_app.model.artifact import CARD, NGRAMS, TOKENIZER, WEIGHTS, load_artifact, write_card
from tests.tiny_model import add_tiny_head, save_tiny_albert

TIB = 2**40
CONFIG = "config.json"
Change = Callable[[Path], object]


@dataclass(frozen=True)
class Hostile:
    """What is done to a folder, and what must be said of it."""

    name: str
    change: Change
    says: str

    def __str__(self) -> str:
        return self.name


def sound(folder: Path) -> Path:
    """A tiny model with a card and an n-gram head."""
    return add_tiny_head(save_tiny_albert(folder), "good", 1)


def edited(name: str, **changes: Any) -> Change:
    """Other values in a JSON file."""

    def change(folder: Path) -> None:
        found = json.loads((folder / name).read_bytes())
        (folder / name).write_text(json.dumps(found | changes))

    return change


def card(**changes: Any) -> Change:
    return edited(CARD, **changes)


def config(**changes: Any) -> Change:
    """Another `config.json`, to which the card agrees."""
    return both(unsealed, edited(CONFIG, **changes))


def unsealed(folder: Path) -> None:
    """The card names no digests, so that none gives a change away."""
    card(files={})(folder)


def both(*changes: Change) -> Change:
    def change(folder: Path) -> None:
        for each in changes:
            each(folder)

    return change


def written(name: str, data: bytes) -> Change:
    return both(unsealed, lambda folder: (folder / name).write_bytes(data))


def tokenizer(**changes: Any) -> Change:
    return both(unsealed, edited(TOKENIZER, **changes))


def vocabulary(pieces: int) -> Change:
    def change(folder: Path) -> None:
        words = {str(n): n for n in range(pieces)}
        tokenizer(model={"type": "WordLevel", "unk_token": "0", "vocab": words})(folder)

    return change


def split(pattern: str) -> dict[str, Any]:
    """A pre-tokenizer that cuts texts at a regular expression."""
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }


def replace(what: str, by: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": what}, "content": by}


def unlinked(name: str, target: str) -> Change:
    """A file that is a link."""

    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return both(unsealed, change)


def stranger(name: str) -> Change:
    """A file that is a link to a good one elsewhere."""

    def change(folder: Path) -> None:
        elsewhere = (folder / name).rename(folder.parent / f"elsewhere-{name}")
        (folder / name).symlink_to(elsewhere)

    return change


def sparse(name: str, size: int = TIB) -> Change:
    return both(unsealed, lambda folder: os.truncate(folder / name, size))


def header(size: int, data: bytes = b"") -> Change:
    """Weights whose header says that it is so long."""
    return written(WEIGHTS, struct.pack("<Q", size) + data)


def weight(name: str, value: float) -> Change:
    """One value of one weight, sealed."""

    def change(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        weights[name].flat[0] = value
        save_file(weights, folder / WEIGHTS)
        write_card(folder, load_artifact(folder).card)

    return both(unsealed, change)


def head(scale: float | None = None, **metadata: str) -> Change:
    """An n-gram head of other features, or with a scale that is no number."""

    def change(folder: Path) -> None:
        tensors = load_file(folder / NGRAMS)
        said = {"words": "1", "characters": "", "bits": "12", "power": "0.5"}
        if scale is not None:
            tensors["scale"][0] = scale
        save_file(tensors, folder / NGRAMS, metadata=said | metadata)

    return both(unsealed, change)


def charsmap(longest: int) -> str:
    """SentencePiece's map, of no characters, to a text of such length."""
    return base64.b64encode(struct.pack("<I", 0) + b"x" * longest + b"\0").decode()
