"""The padding-free CPU backend: all tokens of a micro-batch in one matrix, nothing else computed.

- Every linear layer runs once over `[tokens, hidden]` with weights laid out for this CPU by oneDNN
  and GELU fused into the product.
- Query, key and value are one product; the softmax scale is folded into the query's weights, and
  the key's bias is dropped, since it moves all scores of a softmax alike.
- Attention runs per group of equally long texts, so it needs no mask.
- The last layer computes only what the classifier reads: all rows for their mean, or the `[CLS]`
  row. Key and value products are absorbed into that one row's (q·K = (q·Wk)·x, and likewise behind
  the softmax).
- A micro-batch holds about 1,024 tokens, so that its activations stay in the cache.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from stream_app.core.errors import ModelError
from stream_app.engine.failures import failure
from stream_app.engine.protocol import BATCH_RECORDS, Prior, TokenIds, plus
from stream_app.model.albert import AlbertShape, Weights, read_shape, read_weights
from stream_app.model.artifact import Artifact

log = logging.getLogger(__name__)

MICRO_BATCH_TOKENS = 1024
PRECISIONS = ("float32", "bfloat16")
_ROOT = "albert.encoder."


@dataclass(frozen=True, slots=True)
class Group:
    """Texts of one length, one after another in the token matrix."""

    start: int  # first row
    count: int  # texts
    length: int  # tokens of each

    @property
    def rows(self) -> slice:
        """Their rows of the token matrix."""
        return slice(self.start, self.start + self.count * self.length)


class Linear:
    """y = x·Wᵀ + b with the weight laid out for this CPU, and GELU fused in where asked for."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype, gelu: str = "") -> None:
        weight = weight.to(dtype).contiguous()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight)
        self._bias = bias.to(dtype)
        self._fused = ("gelu", gelu) if gelu else ("none", "")
        self.memory_bytes = weight.numel() * weight.element_size()

    def __call__(self, x: Tensor) -> Tensor:
        post, algorithm = self._fused
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._weight, self._bias, post, [], algorithm
        )
        return out


class Norm:
    """LayerNorm over the last dimension."""

    def __init__(self, weights: Weights[Tensor], name: str, eps: float, dtype: torch.dtype):
        self._weight = weights[f"{name}.weight"].to(dtype)
        self._bias = weights[f"{name}.bias"].to(dtype)
        self._eps = eps

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self._weight.shape, self._weight, self._bias, self._eps)


class Layer:
    """One transformer layer: over all tokens, or over the `[CLS]` rows alone."""

    def __init__(
        self, weights: Weights[Tensor], name: str, shape: AlbertShape, dtype: torch.dtype
    ) -> None:
        attention = f"{name}attention."
        part = {
            key: (weights[f"{attention}{key}.weight"], weights[f"{attention}{key}.bias"])
            for key in ("query", "key", "value", "dense")
        }
        self._heads, self._size = shape.heads, shape.head_size
        scale = 1 / math.sqrt(shape.head_size)
        query, query_bias = part["query"][0] * scale, part["query"][1] * scale
        key, (value, value_bias) = part["key"][0], part["value"]
        self._qkv = Linear(
            torch.cat([query, key, value]),
            torch.cat([query_bias, torch.zeros_like(query_bias), value_bias]),
            dtype,
        )
        self._out = Linear(*part["dense"], dtype)
        up = weights[f"{name}ffn.weight"], weights[f"{name}ffn.bias"]
        self._up = Linear(*up, dtype, shape.gelu)
        self._down = Linear(
            weights[f"{name}ffn_output.weight"], weights[f"{name}ffn_output.bias"], dtype
        )
        self._attention_norm = Norm(weights, f"{attention}LayerNorm", shape.eps, dtype)
        self._full_norm = Norm(weights, f"{name}full_layer_layer_norm", shape.eps, dtype)
        # for the last layer: one query a text, keys and values never formed
        self._query = Linear(query, query_bias, dtype)
        self._key = key.view(shape.heads, shape.head_size, -1).to(dtype)
        self._value = value.view(shape.heads, shape.head_size, -1).transpose(1, 2).to(dtype)
        self._value_bias = value_bias.to(dtype)
        self.memory_bytes = sum(
            linear.memory_bytes for linear in (self._qkv, self._out, self._up, self._down)
        )

    def all_tokens(self, x: Tensor, groups: Sequence[Group]) -> Tensor:
        """[tokens, hidden] -> [tokens, hidden]."""
        qkv = self._qkv(x)  # [tokens, 3·hidden]
        context = torch.empty_like(x)
        for group in groups:
            shape = (group.count, group.length, 3, self._heads, self._size)
            # each [texts, heads, length, size]
            q, k, v = qkv[group.rows].view(shape).permute(2, 0, 3, 1, 4)
            attended = functional.scaled_dot_product_attention(q, k, v, scale=1.0)
            rows = context[group.rows].view(group.count, group.length, self._heads, self._size)
            rows.copy_(attended.transpose(1, 2))
        return self._feed_forward(x, context)

    def first_tokens(self, x: Tensor, groups: Sequence[Group], first: Tensor) -> Tensor:
        """[tokens, hidden] and the rows of the `[CLS]` tokens -> [texts, hidden]."""
        cls = x[first]  # [texts, hidden]
        query = self._query(cls).view(-1, self._heads, self._size)  # [texts, heads, size]
        # [texts, heads, hidden]
        probe = torch.bmm(query.transpose(0, 1), self._key).transpose(0, 1)
        mixed, text = [], 0
        for group in groups:
            rows = x[group.rows].view(group.count, group.length, -1)  # [texts, length, hidden]
            scores = torch.bmm(probe[text : text + group.count], rows.transpose(1, 2))
            weights = torch.softmax(scores.float(), -1).to(x.dtype)  # [texts, heads, length]
            mixed.append(torch.bmm(weights, rows))  # [texts, heads, hidden]
            text += group.count
        by_head = torch.bmm(torch.cat(mixed).transpose(0, 1), self._value)  # [heads, texts, size]
        context = by_head.transpose(0, 1).reshape(cls.shape) + self._value_bias
        return self._feed_forward(cls, context)

    def _feed_forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = self._attention_norm(self._out(context).add_(x))
        return self._full_norm(self._down(self._up(x)).add_(x))


class PackedCpuEngine:
    """One model on this CPU, its layers in `dtype`: float32 or bfloat16."""

    def __init__(self, artifact: Artifact, dtype: torch.dtype) -> None:
        self.labels = artifact.card.labels
        self.at_once = 1
        self.batch_records = BATCH_RECORDS
        self._max_tokens = artifact.card.max_tokens
        self._span = artifact.card.span
        self._dtype = dtype
        self._load(read_shape(artifact), read_weights(artifact).convert(as_tensor))

    def _load(self, shape: AlbertShape, weights: Weights[Tensor]) -> None:
        embeddings = "albert.embeddings."
        self._words = weights[f"{embeddings}word_embeddings.weight"]
        types = weights[f"{embeddings}token_type_embeddings.weight"]
        self._places = weights[f"{embeddings}position_embeddings.weight"] + types[0]
        self._norm = Norm(weights, f"{embeddings}LayerNorm", shape.eps, torch.float32)
        mapping = f"{_ROOT}embedding_hidden_mapping_in"
        self._mapping = Linear(
            weights[f"{mapping}.weight"], weights[f"{mapping}.bias"], self._dtype
        )
        layers = {
            step: Layer(
                weights,
                f"{_ROOT}albert_layer_groups.{step[0]}.albert_layers.{step[1]}.",
                shape,
                self._dtype,
            )
            for step in set(shape.sequence())
        }
        self._layers = [layers[step] for step in shape.sequence()]
        self._mean = shape.mean
        self._pooler = Linear(
            weights["albert.pooler.weight"], weights["albert.pooler.bias"], self._dtype
        )
        self._classifier = (weights["classifier.weight"], weights["classifier.bias"])
        self.memory_bytes = self._words.numel() * 4 + sum(x.memory_bytes for x in layers.values())

    def warm_up(self) -> None:
        """A few lengths, so that oneDNN has its kernels."""
        longest = min(self._max_tokens, len(self._places))
        for length in sorted({min(n, longest) for n in (8, 32, 128, 512)}):
            self.logits([[0] * length] * max(1, MICRO_BATCH_TOKENS // length))

    def logits(self, batch: Sequence[TokenIds], prior: Prior = None) -> NDArray[np.float32]:
        """float32 `[len(batch), labels]`; see `Engine.logits`."""
        out = torch.zeros((len(batch), len(self.labels)))
        try:
            with torch.inference_mode():
                for indexes in micro_batches([len(ids) for ids in batch]):
                    out[indexes] = self._forward([batch[index] for index in indexes])
            return plus(np.asarray(out.numpy(), dtype=np.float32), prior, batch, self._span)
        except (RuntimeError, IndexError, ValueError) as error:
            failed = failure(error, len(batch))
        raise failed

    def computed_tokens(self, batch: Sequence[TokenIds]) -> int:
        """No padding: the tokens themselves."""
        return sum(map(len, batch))

    def close(self) -> None:
        """Drop the weights."""
        self._layers = []

    def _forward(self, texts: Sequence[TokenIds]) -> Tensor:
        """Logits [texts, labels] of texts that are sorted by length."""
        lengths = [len(ids) for ids in texts]
        groups = length_groups(lengths)
        ids = torch.tensor([token for text in texts for token in text])  # [tokens]
        places = torch.cat([torch.arange(length) for length in lengths])  # [tokens]
        first = torch.tensor([0, *lengths[:-1]]).cumsum(0)  # [texts]
        embedded = self._norm(functional.embedding(ids, self._words) + self._places[places])
        x = self._mapping(embedded.to(self._dtype))  # [tokens, hidden]
        for layer in self._layers[:-1]:
            x = layer.all_tokens(x, groups)
        last = self._layers[-1]
        if self._mean:
            read = means(last.all_tokens(x, groups), groups)
        else:
            read = last.first_tokens(x, groups, first)  # [texts, hidden]
        pooled = torch.tanh(self._pooler(read)).float()
        return functional.linear(pooled, *self._classifier)


def means(x: Tensor, groups: Sequence[Group]) -> Tensor:
    """[tokens, hidden] -> [texts, hidden]: each text's mean token."""
    return torch.cat(
        [x[group.rows].view(group.count, group.length, -1).mean(1) for group in groups]
    )


def as_tensor(name: str, weight: NDArray[np.float32]) -> Tensor:
    """The same memory, as torch has it."""
    del name
    return torch.from_numpy(weight)


def micro_batches(lengths: Sequence[int]) -> list[list[int]]:
    """Indexes of texts, sorted by length, in runs of at most MICRO_BATCH_TOKENS tokens."""
    runs: list[list[int]] = []
    tokens = MICRO_BATCH_TOKENS
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if tokens + lengths[index] > MICRO_BATCH_TOKENS:
            runs.append([])
            tokens = 0
        runs[-1].append(index)
        tokens += lengths[index]
    return runs


def length_groups(lengths: Sequence[int]) -> list[Group]:
    """Runs of equal lengths, each with the row where it starts."""
    groups, row = [], 0
    for length, run in groupby(lengths):
        count = sum(1 for _ in run)
        groups.append(Group(row, count, length))
        row += count * length
    return groups


def has_bfloat16() -> bool:
    """Whether oneDNN has bfloat16 products for this CPU, if only by way of float32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def load(artifact: Artifact, device: str, precision: str, threads: int) -> PackedCpuEngine:
    """Load onto the CPU; `auto` is bfloat16 where the instruction set has it, else float32.

    Raises ModelError for a precision that torch, or this CPU, does not have.
    """
    if device not in ("auto", "cpu"):
        raise ModelError(f"the packed CPU engine does not run on {device!r}")
    if precision == "auto":
        native = torch.cpu.get_capabilities().get("avx512_bf16", False)
        precision = "bfloat16" if native else "float32"
    if precision not in PRECISIONS:
        raise ModelError(f"no {precision} in torch on a CPU; there are: {', '.join(PRECISIONS)}")
    if precision == "bfloat16" and not has_bfloat16():
        raise ModelError('torch has no bfloat16 on this CPU; use precision = "auto"')
    torch.set_num_threads(threads)
    log.info("%s: packed engine, %s, %d threads", artifact.card.name, precision, threads)
    return PackedCpuEngine(artifact, getattr(torch, precision))
