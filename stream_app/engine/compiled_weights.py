"""An artifact's weights in the layout of the compiled kernels (`native/model.h`).

int8 weights are rounded per output channel, to the scale of its largest: row-wise and column-wise
rounding as in Dettmers et al., "LLM.int8()", 2022, section 3.1.
"""

from __future__ import annotations

import ctypes
import math

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from stream_app.core.errors import ModelError
from stream_app.engine.native_library import PRECISIONS, Kernels, Layer, Linear, Model, Norm
from stream_app.engine.packing import Packed
from stream_app.model.albert import AlbertShape, Weights
from stream_app.model.exits import Exits

PANEL, LANES = 32, 64  # kPanel and kLanes of native/panels.h
GROUP = {"float32": 1, "bfloat16": 2, "int8": 4}  # numbers in 32 bits
EXIT_ROWS = 3  # kExitRows of native/classify.h
Array = NDArray[np.float32]
_ENCODER = "albert.encoder."


class CompiledWeights:
    """A model as the kernels read it, in one precision."""

    def __init__(
        self, shape: AlbertShape, weights: Weights[Array], kernels: Kernels, precision: str
    ) -> None:
        kernel = kernels.kernel(precision)
        assert kernel is not None
        self._kernel = kernel
        self._arrays: list[NDArray[np.generic]] = []
        self._weights, self._shape = weights, shape
        self._precision = precision
        self._attention = "float32" if precision == "float32" else PRECISIONS[kernels.attention]
        # the heads together are as wide as a row: a multiple of LANES
        self._head_size = _round_up(shape.head_size, LANES if shape.heads % 2 else PANEL)
        self._struct = self._model()
        self.vocabulary = len(weights["albert.embeddings.word_embeddings.weight"])
        self.positions = len(weights["albert.embeddings.position_embeddings.weight"])
        self.outputs = int(self._struct.classifier.out)  # columns of the logits, with the padding
        del self._weights

    def open_exits(self, exits: Exits, temperature: float, evidence: float) -> None:
        """Let texts take these exits, calibrated by a card's `temperature` and `evidence`. Raises
        ModelError for the exits of another model."""
        model, layers = self._struct, self._struct.layer_count
        if exits.weight.shape != (layers - 1, model.labels, model.hidden) or (
            model.classifier.out > EXIT_ROWS * model.mapping.out
        ):
            raise ModelError(f"early exits of shape {exits.weight.shape} are not this model's")
        linears = [
            self._linear(weight, bias, "float32", lanes=PANEL)
            for weight, bias in zip(exits.weight, exits.bias, strict=True)
        ]
        model.exits = (Linear * len(linears))(*linears)
        model.inverse_temperature = 1 / temperature
        model.inverse_confidence = 1 / exits.confidence
        model.evidence = evidence

    def workspace(self, texts: Packed) -> int:
        """Bytes that `forward` needs for such a batch."""
        return int(self._kernel.workspace(self._struct, len(texts.ids), len(texts.lengths)))

    def forward(self, texts: Packed, out: Array, memory: int) -> None:
        """Write logits to `out` [texts, outputs].

        `memory` is the address of `workspace` bytes, aligned to 64. The interpreter's lock is free
        meanwhile.
        """
        self._kernel.forward(
            self._struct,
            texts.ids.ctypes.data,
            texts.lengths.ctypes.data,
            len(texts.lengths),
            out.ctypes.data,
            memory,
        )

    @property
    def memory_bytes(self) -> int:
        """Bytes of all arrays, as they are laid out."""
        return sum(array.nbytes for array in self._arrays)

    def _model(self) -> Model:
        shape, embeddings = self._shape, "albert.embeddings."
        words = self._weights[f"{embeddings}word_embeddings.weight"]
        types = self._weights[f"{embeddings}token_type_embeddings.weight"]
        positions = self._weights[f"{embeddings}position_embeddings.weight"] + types[0]
        layers = {step: self._layer(*step) for step in sorted(set(shape.sequence()))}
        steps = [ctypes.pointer(layers[step]) for step in shape.sequence()]
        width = _round_up(words.shape[1], LANES)
        return Model(
            words=self._keep(_pad(words, len(words), width)),
            positions=self._keep(_pad(positions, len(positions), width)),
            embedding_norm=self._norm(f"{embeddings}LayerNorm"),
            mapping=self._linear(
                *self._named(f"{_ENCODER}embedding_hidden_mapping_in"), self._attention
            ),
            layers=(ctypes.POINTER(Layer) * len(steps))(*steps),
            pooler=self._linear(*self._named("albert.pooler"), "float32"),
            classifier=self._linear(*self._named("classifier"), "float32", lanes=PANEL),
            gelu=self._keep(gelu_table(shape.gelu, precise=self._precision == "float32")),
            eps=shape.eps,
            layer_count=len(steps),
            embedding=words.shape[1],
            hidden=shape.hidden,
            heads=shape.heads,
            head_size=self._head_size,
            labels=len(self._weights["classifier.bias"]),
            mean=shape.mean,
        )

    def _layer(self, group: int, inner: int) -> Layer:
        name = f"{_ENCODER}albert_layer_groups.{group}.albert_layers.{inner}."
        return Layer(
            qkv=self._linear(*self._query_key_value(f"{name}attention."), self._precision),
            dense=self._linear(*self._dense(f"{name}attention.dense"), self._precision),
            up=self._linear(*self._named(f"{name}ffn"), self._precision),
            down=self._linear(*self._named(f"{name}ffn_output"), self._precision),
            attention_norm=self._norm(f"{name}attention.LayerNorm"),
            full_norm=self._norm(f"{name}full_layer_layer_norm"),
        )

    def _query_key_value(self, name: str) -> tuple[Array, Array]:
        """Weight and bias of query, key and value together; the softmax's scale is in the query.

        The key's bias is left out: it moves all scores of a softmax alike.
        """
        scale = np.float32(1 / math.sqrt(self._shape.head_size))
        (query, query_bias), (key, key_bias), (value, value_bias) = (
            self._named(f"{name}{part}") for part in ("query", "key", "value")
        )
        parts = [
            (query * scale, query_bias * scale),
            (key, np.zeros_like(key_bias)),
            (value, value_bias),
        ]
        weight = np.concatenate([self._by_head(weight) for weight, _ in parts])
        return weight, np.concatenate([self._by_head(bias[:, None])[:, 0] for _, bias in parts])

    def _dense(self, name: str) -> tuple[Array, Array]:
        weight, bias = self._named(name)
        return np.ascontiguousarray(self._by_head(weight.T).T), bias

    def _by_head(self, rows: Array) -> Array:
        """[heads · size, n] -> [heads · padded size, n]."""
        heads, size = self._shape.heads, self._shape.head_size
        out = np.zeros((heads, self._head_size, rows.shape[1]), np.float32)
        out[:, :size] = rows.reshape(heads, size, -1)
        return out.reshape(heads * self._head_size, -1)

    def _named(self, name: str) -> tuple[Array, Array]:
        return self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]

    def _norm(self, name: str) -> Norm:
        weight, bias = (
            _pad(array[None], 1, _round_up(len(array), LANES)) for array in self._named(name)
        )
        return Norm(self._keep(weight), self._keep(bias))

    def _linear(self, weight: Array, bias: Array, precision: str, lanes: int = LANES) -> Linear:
        rows, columns = _round_up(len(weight), lanes), _round_up(weight.shape[1], LANES)
        weight, bias = _pad(weight, rows, columns), _pad(bias[None], 1, rows)
        scale = weight_sum = None
        elements: NDArray[np.generic] = weight
        if precision == "bfloat16":
            elements = to_bfloat16(weight)
        elif precision == "int8":
            largest = np.abs(weight).max(axis=1, keepdims=True)
            scale = np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(127)
            whole = np.rint(weight / scale).astype(np.int8)
            weight_sum, elements = whole.sum(axis=1, dtype=np.int32), whole
        return Linear(
            panels=self._keep(panels(elements, GROUP[precision])),
            bias=self._keep(bias),
            scale=None if scale is None else self._keep(scale),
            weight_sum=None if weight_sum is None else self._keep(weight_sum),
            in_=columns,
            out=rows,
        )

    def _keep(self, array: NDArray[np.generic]) -> int:
        """The address of a copy that starts on a cache line and lives as long as the model."""
        room = np.empty(array.nbytes + LANES, np.uint8)
        start = -room.ctypes.data % LANES
        copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        self._arrays.append(copy)
        return copy.ctypes.data


def panels(weight: NDArray[np.generic], group: int) -> NDArray[np.generic]:
    """[out, in] -> [out / 32, in / group, 32, group]: native/panels.h draws it."""
    rows, columns = weight.shape
    return weight.reshape(rows // PANEL, PANEL, columns // group, group).transpose(0, 2, 1, 3)


def to_bfloat16(values: Array) -> NDArray[np.uint16]:
    """The upper half of each float32, rounded to nearest, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def gelu_table(approximation: str, *, precise: bool) -> Array:
    """[limit, 2 / limit², coefficients of P, highest first]: see `gelu` in native/vector_math.h.

    P is a Chebyshev least-squares fit of (gelu(u) / u - 1/2) / u over t = 2u²/limit² - 1, weighted
    by the error it makes in gelu.
    """
    limit, terms = (5.0, 13) if precise else (4.5, 10)
    t = np.cos(np.linspace(0, math.pi, 2001))
    u = np.maximum(np.sqrt((t + 1) / 2) * limit, 1e-6)
    if approximation == "tanh":
        half = 0.5 * np.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3))
    else:
        half = 0.5 * np.array([math.erf(x / math.sqrt(2)) for x in u])
    fit = chebyshev.chebfit(t, half / u, terms - 1, w=u * u + 0.05)
    table = [limit, 2 / limit**2, *chebyshev.cheb2poly(fit)[::-1]]
    return np.array(table, np.float32)


def _pad(array: Array, rows: int, columns: int) -> Array:
    return np.pad(array, ((0, rows - array.shape[0]), (0, columns - array.shape[1])))


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
