"""Reading a model's files: only regular files inside its folder, of bounded size.

A model may be hostile, so reading it takes bounded time and memory.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

from stream_app.core.errors import ModelError

MIB = 2**20
CONFIG_BYTES = MIB
CARD_BYTES = 16 * MIB
TOKENIZER_BYTES = 32 * MIB  # a vocabulary of a quarter of a million pieces has 17
FAMILIARITY_BYTES = 8 * MIB  # a built-in model's has 250 kB, and all words and pairs are 5 MB
HEADER_BYTES = MIB  # ALBERT's has 5 kB
WEIGHTS_BYTES = 4096 * MIB  # albert-xxlarge has 900 in float32


def plain_name(name: str) -> bool:
    """Whether a relative path stays inside the folder it is joined to."""
    parts = PurePosixPath(name).parts
    absolute = name.startswith("/") or "\\" in name or "\0" in name
    return bool(parts) and not absolute and ".." not in parts


def model_file(folder: Path, name: str, most: int = WEIGHTS_BYTES) -> Path:
    """A file of a model. Raises ModelError if missing, too large or a link out of the folder."""
    file = folder / name
    try:
        if not file.is_file():
            raise ModelError(_missing(file))
        if plain_name(name) and not file.resolve().is_relative_to(_home(folder)):
            raise ModelError(
                f"{file} is a link that leads out of the model's folder: copy the file"
            )
        size = file.stat().st_size
    except OSError as error:
        raise ModelError(f"{folder}: a file cannot be read: {error.strerror}") from None
    if size > most:
        raise ModelError(f"{file} has {size} bytes; at most {most} are allowed")
    return file


def read_file(folder: Path, name: str, most: int) -> bytes:
    """Its bytes. Raises ModelError as `model_file`."""
    file = model_file(folder, name, most)
    with file.open("rb") as opened:
        data = opened.read(most + 1)
    if len(data) > most:  # it grew meanwhile
        raise ModelError(f"{file} has more than {most} bytes; at most {most} are allowed")
    return data


def read_json(folder: Path, name: str, most: int) -> dict[str, Any]:
    """A file with a JSON object. Raises ModelError as `model_file`, and if it is anything else."""
    return parse_object(read_file(folder, name, most), str(folder / name))


def parse_object(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object. Raises ModelError if it is not one; the message starts with `what`."""
    try:
        found = json.loads(data)
    except RecursionError:
        raise ModelError(f"{what} is not JSON: nested too deeply") from None
    except ValueError as error:  # not UTF-8, too
        raise ModelError(f"{what} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ModelError(f"{what} is not a JSON object")
    return found


def read_header(
    file: Path, most: int = WEIGHTS_BYTES, wrong: str = "cannot be read"
) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in a safetensors file, by name; no tensor is read.

    Raises ModelError, with the words of `wrong`, if it is not a safetensors file. The library
    accepts a header of 100 MB, this does not.
    """
    model_file(file.parent, file.name, most)
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        header = opened.read(min(size, HEADER_BYTES))
    if size > HEADER_BYTES or len(header) < size:
        raise ModelError(f"{file} {wrong}: a header of {size} bytes is no header of safetensors")
    tensors = parse_object(header, f"{file} {wrong}: its header")
    tensors.pop("__metadata__", None)
    shapes = {name: _shape(tensor) for name, tensor in tensors.items()}
    if None in shapes.values():
        raise ModelError(f"{file} {wrong}: its header has a tensor without a shape")
    return {name: shape for name, shape in shapes.items() if shape is not None}


def _shape(tensor: Any) -> tuple[int, ...] | None:
    shape = tensor.get("shape") if isinstance(tensor, dict) else None
    if not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in shape):
        return None
    return tuple(shape)


def _home(folder: Path) -> Path:
    """Where a model's links may lead. In the cache of Hugging Face's hub they lead to a sibling."""
    place = folder.absolute()
    if place.parent.name == "snapshots":
        place = place.parents[1]
    return place.resolve()


def _missing(file: Path) -> str:
    folder = file.parent
    pickled = [p.name for p in folder.glob("*.bin")] + [p.name for p in folder.glob("*.pt")]
    hint = (
        f"; {pickled[0]} is a pickle and is never loaded: save the model with safetensors"
        if file.suffix == ".safetensors" and pickled
        else "; is this a Hugging Face model folder?"
    )
    return f"model folder {folder} has no {file.name}{hint}"
