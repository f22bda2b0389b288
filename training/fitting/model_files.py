"""The files that a model or an encoder has: checked, copied, not sealed yet."""

from __future__ import annotations

import shutil
from pathlib import Path

from stream_app.core.errors import ModelError
from stream_app.model.artifact import TOKENIZER, WEIGHTS, Artifact, ModelCard

_TOKENIZER_FILES = (TOKENIZER, "tokenizer_config.json")


def require_encoder(folder: Path, tokenizer: str = ".") -> None:
    """Raises ModelError when a folder lacks a file that an ALBERT encoder has, or `tokenizer`, a
    folder relative to it, has none."""
    for name in ("config.json", WEIGHTS, f"{tokenizer}/{TOKENIZER}"):
        if not (folder / name).is_file():
            missing = name.removeprefix("./")
            raise ModelError(f"encoder {folder} has no {missing}: give an ALBERT folder")


def unsealed(folder: Path, card: ModelCard) -> Artifact:
    """A model that is being made: it can be scored, but its card is not written yet."""
    return Artifact(folder, card, digest="")


def copy_weights(source: Path, folder: Path) -> None:
    """Copy the weights and their shape from one model's folder to another's."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", WEIGHTS):
        shutil.copyfile(source / name, folder / name)


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy the tokenizer in folder `source` to another, unless it is that one."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in filter(Path.exists, (source / name for name in _TOKENIZER_FILES)):
        if not (folder / file.name).exists() or not file.samefile(folder / file.name):
            shutil.copyfile(file, folder / file.name)
