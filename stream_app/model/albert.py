"""What an ALBERT classifier computes: its shape and its weights, read without transformers.

Lan et al., "ALBERT: A Lite BERT for Self-supervised Learning of Language Representations", 2020:
factorised embeddings (section 3.1) and layers that share one group's weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize, safe_open

from stream_app.core.errors import ModelError
from stream_app.model.artifact import WEIGHTS, Artifact
from stream_app.model.checks.config import ACTIVATIONS, CONFIG, Config, read_config
from stream_app.model.checks.files import read_header

_DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16}
_ATTENTION_NORM, _LAYER_NORM = "attention.LayerNorm", "full_layer_layer_norm"


@dataclass(frozen=True, slots=True)
class AlbertShape:
    """The sizes in `config.json` that the arithmetic depends on."""

    layers: int
    groups: int
    inner: int  # layers in a group
    heads: int
    hidden: int
    eps: float
    gelu: str  # approximation: none or tanh
    mean: bool = False  # the pooler reads the mean of a text's tokens, not its [CLS]

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads

    def sequence(self) -> list[tuple[int, int]]:
        """(group, inner layer) of every layer, in the order they run."""
        steps = [int(layer / (self.layers / self.groups)) for layer in range(self.layers)]
        return [(group, inner) for group in steps for inner in range(self.inner)]


def supported(artifact: Artifact) -> bool:
    """Whether `AlbertShape` describes the artifact's model completely."""
    return read_config(artifact.path).hidden_act in ACTIVATIONS


def read_shape(artifact: Artifact) -> AlbertShape:
    """The shape of an artifact's model. Raises ModelError for what is not supported."""
    config = read_config(artifact.path)
    if config.hidden_act not in ACTIVATIONS:
        raise ModelError(
            f"{artifact.path}: hidden_act {config.hidden_act!r} is not supported by this "
            f"engine; there are: {', '.join(ACTIVATIONS)}. The reference engine runs any"
        )
    return AlbertShape(
        layers=config.num_hidden_layers,
        groups=config.num_hidden_groups,
        inner=config.inner_group_num,
        heads=config.num_attention_heads,
        hidden=config.hidden_size,
        eps=config.layer_norm_eps,
        gelu=ACTIVATIONS[config.hidden_act],
        mean=config.pooling == "mean",
    )


T = TypeVar("T")
U = TypeVar("U")


class Weights(dict[str, T]):
    """A classifier's weights by their Hugging Face names. Raises ModelError for a missing one."""

    def __init__(self, file: Path, weights: Mapping[str, T]) -> None:
        super().__init__(weights)
        self._file = file

    def convert(self, to: Callable[[str, T], U]) -> Weights[U]:
        """The same weights as another library, or another precision, has them."""
        return Weights(self._file, {name: to(name, weight) for name, weight in self.items()})

    def __missing__(self, name: str) -> T:
        raise ModelError(
            f"{self._file} has no {name}: it is not a fine-tuned classifier; "
            "train one with winnow-train fit"
        )


def read_weights(artifact: Artifact) -> Weights[NDArray[np.float32]]:
    """All weights in float32.

    Raises ModelError when the file is unreadable, a weight is not finite, its outputs are not the
    card's labels or another shape is not the one in `config.json`.
    """
    check_shapes(artifact)
    file, labels = artifact.path / WEIGHTS, artifact.card.labels
    weights = _read(file, lambda name: True)
    outputs = len(weights["classifier.bias"])
    if outputs != len(labels):
        raise ModelError(f"{file} has {outputs} outputs, its card {len(labels)} labels")
    for name, weight in weights.items():
        # a NaN makes both the minimum and the maximum NaN
        if weight.size and not np.isfinite([weight.min(), weight.max()]).all():
            raise ModelError(not_finite(file, name))
    return weights


def check_shapes(artifact: Artifact) -> None:
    """Raises ModelError if a weight does not have the shape that `config.json` implies.

    Kernels take the sizes from there, and would read beyond the end of a shorter weight.
    """
    file, config = artifact.path / WEIGHTS, read_config(artifact.path)
    found = read_header(file)
    outputs = (found.get("classifier.bias") or (0,))[0]
    for name, shape in weight_shapes(config, outputs).items():
        if found.get(name, shape) != shape:
            raise ModelError(f"{file}: {name} is {found[name]}, but {shape} by {CONFIG}")


def not_finite(file: Path, name: str) -> str:
    """The message for a weight that is NaN or infinite."""
    return f"{file}: {name} has values that are not finite: train or fetch the model again"


def weight_shapes(config: Config, outputs: int) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of a classifier, by its Hugging Face name."""
    hidden, embedding = config.hidden_size, config.embedding_size
    linears = {
        "albert.encoder.embedding_hidden_mapping_in": (hidden, embedding),
        "albert.pooler": (hidden, hidden),
        "classifier": (outputs, hidden),
    }
    norms = {"albert.embeddings.LayerNorm": embedding}
    for group, inner in product(range(config.num_hidden_groups), range(config.inner_group_num)):
        layer = f"albert.encoder.albert_layer_groups.{group}.albert_layers.{inner}."
        linears |= {
            f"{layer}attention.{part}": (hidden, hidden)
            for part in ("query", "key", "value", "dense")
        }
        linears[f"{layer}ffn"] = (config.intermediate_size, hidden)
        linears[f"{layer}ffn_output"] = (hidden, config.intermediate_size)
        norms |= {f"{layer}{part}": hidden for part in (_ATTENTION_NORM, _LAYER_NORM)}
    tables = {
        "word": config.vocab_size,
        "position": config.max_position_embeddings,
        "token_type": config.type_vocab_size,
    }
    return {
        **{f"albert.embeddings.{t}_embeddings.weight": (n, embedding) for t, n in tables.items()},
        **{f"{name}.weight": shape for name, shape in linears.items()},
        **{f"{name}.bias": shape[:1] for name, shape in linears.items()},
        **{f"{name}.{part}": (n,) for name, n in norms.items() for part in ("weight", "bias")},
    }


def read_embeddings(artifact: Artifact) -> NDArray[np.float32]:
    """float32 [vocabulary, embedding size]. Raises ModelError."""
    check_shapes(artifact)
    file, name = artifact.path / WEIGHTS, "albert.embeddings.word_embeddings.weight"
    try:
        with safe_open(file, "numpy") as weights:
            # numpy's own types are read where they lie, of others the library gives whole files
            if weights.get_slice(name).get_dtype() in _DTYPES:
                return np.asarray(weights.get_tensor(name), dtype=np.float32)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{file} has no ALBERT embeddings: {type(error).__name__}") from None
    return _read(file, name.__eq__)[name]


def _read(file: Path, wanted: Callable[[str], bool]) -> Weights[NDArray[np.float32]]:
    try:
        tensors = deserialize(file.read_bytes())
        read = {name: _float32(**tensor) for name, tensor in tensors if wanted(name)}
    except Exception as error:  # the Rust library raises its own kinds
        raise ModelError(f"{file} cannot be read ({type(error).__name__})") from error
    return Weights(file, read)


def _float32(dtype: str, shape: Sequence[int], data: bytes) -> NDArray[np.float32]:
    if dtype == "BF16":  # which numpy does not know: the upper half of a float32
        flat = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
    elif dtype == "F8_E4M3":
        flat = _float8_values()[np.frombuffer(data, np.uint8)]
    else:
        flat = np.frombuffer(data, _DTYPES[dtype]).astype(np.float32)
    return flat.reshape(shape)


def _float8_values() -> NDArray[np.float32]:
    """float32 [256]: what each byte of e4m3 is. Micikevicius et al., "FP8 Formats for Deep
    Learning", 2022, table 1: a sign, 4 bits of exponent with bias 7, 3 of mantissa, no infinity."""
    byte = np.arange(256)
    exponent, mantissa = byte >> 3 & 15, byte & 7
    size = np.where(
        exponent > 0, np.ldexp(1 + mantissa / 8, exponent - 7), np.ldexp(mantissa / 8, -6)
    )
    size[byte & 127 == 127] = np.nan
    return np.where(byte < 128, size, -size).astype(np.float32)
