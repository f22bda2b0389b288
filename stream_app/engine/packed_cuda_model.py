"""ALBERT over a packed batch on a GPU: the weights on their device, and the forward.

Attention reads each text where it lies in the token matrix (Dao, "FlashAttention-2", 2023). Where
that kernel cannot run (float32, a GPU before Ampere), texts are padded inside attention alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding, gelu, linear, scaled_dot_product_attention

from stream_app.engine.packed_cpu import Norm
from stream_app.engine.packing import Ints, Packed
from stream_app.model.albert import AlbertShape, Weights

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch 2.9
    varlen_attn = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a forward is launched for: what its texts need, or more."""

    tokens: int
    texts: int
    longest: int  # tokens of one text

    @property
    def packed(self) -> int:
        """int32 values that `lay_out` writes."""
        return 2 * self.tokens + self.texts + 1


@dataclass(frozen=True, slots=True)
class Texts:
    """Where the texts lie in the token matrix."""

    places: Tensor  # int32 [tokens]: of each token in its text
    bounds: Tensor  # int32 [texts + 1]: first row of each text, and the row behind the last
    longest: int  # tokens of one text


# query, key, value, texts, whether a text has one query instead of one a token
Attention = Callable[[Tensor, Tensor, Tensor, Texts, bool], Tensor]


def flash_attention(query: Tensor, key: Tensor, value: Tensor, texts: Texts, one: bool) -> Tensor:
    """[tokens, heads, size] each, or query [texts, heads, size] if `one` -> as query."""
    bounds, longest = texts.bounds, texts.longest
    if one:
        bounds, longest = torch.arange(len(bounds), dtype=bounds.dtype, device=bounds.device), 1
    mixed = varlen_attn(query, key, value, bounds, texts.bounds, longest, texts.longest)
    assert isinstance(mixed, Tensor)  # a tuple only where asked for more
    return mixed


def padded_attention(query: Tensor, key: Tensor, value: Tensor, texts: Texts, one: bool) -> Tensor:
    """The same on any device, in any dtype."""
    row = torch.arange(len(key), dtype=texts.bounds.dtype, device=key.device)
    start, end = texts.bounds[:-1, None], texts.bounds[1:, None]
    rows = start + row[: texts.longest]  # [texts, longest]
    mask = (rows < end)[:, None, None]  # [texts, 1, 1, longest]
    rows = rows.clamp(max=len(key) - 1)
    padded = (query[:, None] if one else query[rows], key[rows], value[rows])
    q, k, v = (x.transpose(1, 2) for x in padded)  # [texts, heads, longest or 1, size]
    mixed = scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
    if one:
        return mixed[:, 0]
    text = torch.bucketize(row, texts.bounds[1:], right=True).clamp(max=len(mixed) - 1)
    return mixed[text, texts.places]


class Layer:
    """One transformer layer: over all tokens, or for the `[CLS]` rows alone.

    The key's bias is dropped, since it moves all scores of a softmax alike. The softmax's scale is
    left to the attention kernels, whose exponential holds it anyway.
    """

    def __init__(
        self, weights: Weights[Tensor], name: str, shape: AlbertShape, attention: Attention
    ) -> None:
        def pair(part: str) -> tuple[Tensor, Tensor]:
            return weights[f"{name}{part}.weight"], weights[f"{name}{part}.bias"]

        query, key, value = (pair(f"attention.{part}") for part in ("query", "key", "value"))
        weight = torch.cat([query[0], key[0], value[0]])
        bias = torch.cat([query[1], torch.zeros_like(key[1]), value[1]])
        self._qkv = weight, bias
        self._query = weight[: shape.hidden], bias[: shape.hidden]
        self._key_value = weight[shape.hidden :], bias[shape.hidden :]
        self._out, self._up, self._down = (
            pair(part) for part in ("attention.dense", "ffn", "ffn_output")
        )
        dtype = weight.dtype
        self._attention_norm = Norm(weights, f"{name}attention.LayerNorm", shape.eps, dtype)
        self._full_norm = Norm(weights, f"{name}full_layer_layer_norm", shape.eps, dtype)
        self._attention, self._gelu = attention, shape.gelu
        self._head = (shape.heads, shape.head_size)

    def all_tokens(self, x: Tensor, texts: Texts) -> Tensor:
        """[tokens, hidden] -> [tokens, hidden]."""
        query, key, value = linear(x, *self._qkv).view(len(x), 3, *self._head).unbind(1)
        return self._feed_forward(x, self._attention(query, key, value, texts, False))

    def first_tokens(self, x: Tensor, texts: Texts) -> Tensor:
        """[tokens, hidden] -> [texts, hidden]."""
        # the empty texts of a graph start behind the last row
        cls = x[texts.bounds[:-1].clamp(max=len(x) - 1)]
        query = linear(cls, *self._query).view(len(cls), *self._head)
        key, value = linear(x, *self._key_value).view(len(x), 2, *self._head).unbind(1)
        return self._feed_forward(cls, self._attention(query, key, value, texts, True))

    def _feed_forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = self._attention_norm(linear(context.reshape(x.shape), *self._out).add_(x))
        weight, bias = self._up
        if x.is_cuda and self._gelu == "tanh":  # in one kernel; on a CPU it is the other GELU
            up = torch._addmm_activation(bias, x, weight.t(), use_gelu=True)
        else:
            up = gelu(linear(x, weight, bias), approximate=self._gelu)
        return self._full_norm(linear(up, *self._down).add_(x))


class Albert:
    """The weights on their device, layers in `dtype`, and the forward over a packed batch."""

    def __init__(
        self,
        shape: AlbertShape,
        arrays: Weights[NDArray[np.float32]],
        device: torch.device,
        dtype: torch.dtype,
        flash: bool,
    ) -> None:
        exact = ("albert.embeddings.", "classifier.")

        def placed(name: str, weight: NDArray[np.float32]) -> Tensor:
            kept = torch.float32 if name.startswith(exact) else dtype
            return torch.from_numpy(weight).to(device, kept)

        weights = arrays.convert(placed)

        def pair(name: str) -> tuple[Tensor, Tensor]:
            return weights[f"{name}.weight"], weights[f"{name}.bias"]

        name = "albert.embeddings."
        self._words = weights[f"{name}word_embeddings.weight"]
        types = weights[f"{name}token_type_embeddings.weight"]
        self._places = weights[f"{name}position_embeddings.weight"] + types[0]
        self._norm = Norm(weights, f"{name}LayerNorm", shape.eps, torch.float32)
        self._mapping = pair("albert.encoder.embedding_hidden_mapping_in")
        attention = flash_attention if flash else padded_attention
        name = "albert.encoder.albert_layer_groups.{}.albert_layers.{}."
        layers = {
            step: Layer(weights, name.format(*step), shape, attention)
            for step in set(shape.sequence())
        }
        self._layers = [layers[step] for step in shape.sequence()]
        self._mean = shape.mean
        self._pooler, self._classifier = pair("albert.pooler"), pair("classifier")
        self.memory_bytes = sum(weight.nbytes for weight in weights.values())
        self.vocabulary, self.places = len(self._words), len(self._places)

    def __call__(self, packed: Tensor, shape: Shape) -> Tensor:
        """int32 [shape.packed] -> float32 logits [texts, labels]. Never waits for the device."""
        ids, places, bounds = packed.split([shape.tokens, shape.tokens, shape.texts + 1])
        texts = Texts(places, bounds, shape.longest)
        embedded = self._norm(embedding(ids, self._words) + embedding(places, self._places))
        weight, bias = self._mapping
        x = linear(embedded.to(weight.dtype), weight, bias)  # [tokens, hidden]
        for layer in self._layers[:-1]:
            x = layer.all_tokens(x, texts)
        last = self._layers[-1]
        if self._mean:
            read = means(last.all_tokens(x, texts), texts)
        else:
            read = last.first_tokens(x, texts)  # [texts, hidden]
        return linear(torch.tanh(linear(read, *self._pooler)).float(), *self._classifier)


def means(x: Tensor, texts: Texts) -> Tensor:
    """[tokens, hidden] -> [texts, hidden]: each text's mean token; any number for an empty text."""
    row = torch.arange(len(x), dtype=texts.bounds.dtype, device=x.device)
    text = torch.bucketize(row, texts.bounds[1:], right=True)  # behind the last: of no text
    count = len(texts.bounds) - 1
    sums = x.new_zeros((count + 1, x.shape[1]), dtype=torch.float32)
    sums.index_add_(0, text.clamp(max=count), x.float())
    sizes = (texts.bounds[1:] - texts.bounds[:-1]).clamp(min=1)
    return (sums[:-1] / sizes[:, None]).to(x.dtype)


def lay_out(batch: Packed, shape: Shape, out: Ints) -> None:
    """Write ids [tokens], places [tokens] and bounds [texts + 1] to `out`, int32 [shape.packed].

    What `shape` has beyond the batch is token 0 in no text, and empty texts.
    """
    ids, ends = batch.ids, np.cumsum(batch.lengths)
    out[:] = 0
    out[: len(ids)] = ids
    places = np.arange(len(ids)) - np.repeat(ends - batch.lengths, batch.lengths)
    out[shape.tokens : shape.tokens + len(ids)] = places
    out[2 * shape.tokens + 1 :] = ends[-1]
    out[2 * shape.tokens + 1 : 2 * shape.tokens + 1 + len(ends)] = ends
