"""Contrast: the encoder learns from the examples which texts are of one label.

Tunstall et al., "Efficient Few-Shot Learning Without Prompts", 2022 (SetFit), teach an encoder by
pairs of texts. Here each text of a batch is paired with every other: 32 texts are read for 496
pairs instead of 16, so that a CPU can afford it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AlbertModel

from stream_app.engine.pooled import mean_token
from stream_app.engine.protocol import TokenIds
from stream_app.model.artifact import Artifact
from training.examples.probe import Truth
from training.fitting.encoder import read_encoder
from training.fitting.finetune import Padded, has_bfloat16, quiet, use_cores

_EPOCHS = 6
_TOKENS = 40_000  # that are read at most; about 20 s of one core
_LONGEST = 128  # tokens of a text
_BATCH = 32
_RATE = 2e-4
_WARMUP = 5  # steps; then the rate falls in a straight line
_SEED = 1


def contrasted(encoder: Artifact, ids: Sequence[TokenIds], truth: Truth, out: Path) -> Artifact:
    """A copy of the encoder in folder `out` that has learnt from the texts.

    The cosine of two texts' mean tokens becomes the share of their labels that they have in common:
    with one label each, 1 or 0. The embeddings of tokens learn nothing: the examples hold few.
    """
    quiet()
    use_cores()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = read_encoder(encoder.path)
    model.embeddings.requires_grad_(False)
    torch.nn.Module.to(model.eval(), device)  # a few hundred steps are too few to need dropout
    learning = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=_RATE, weight_decay=0.01)
    short = [[*text[: _LONGEST - 1], text[-1]] if len(text) > _LONGEST else text for text in ids]
    batches = list(_batches([len(text) for text in short]))
    padded = Padded(int(model.config.pad_token_id or 0))
    for step, rows in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min((step + 1) / _WARMUP, 1 - step / len(batches))
        batch = padded([{"input_ids": short[row], "labels": truth[row]} for row in rows])
        error = loss(_mean_token(model, batch, device), shared(batch["labels"]).to(device))
        optimizer.zero_grad()
        torch.autograd.backward(error)
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
    model.half().save_pretrained(out)
    return Artifact(out, encoder.card, encoder.digest)


def shared(truth: Tensor) -> Tensor:
    """bool [texts, labels] -> [texts, texts]: of the labels that two texts have, the share that
    both have; 1 where neither has any."""
    has = truth.float()
    both = has @ has.T
    either = has.sum(1)[:, None] + has.sum(1) - both
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)


def loss(vectors: Tensor, wanted: Tensor) -> Tensor:
    """How far the cosines of `vectors` [texts, hidden] are from the `wanted` ones [texts, texts]:
    pairs that are to be alike count as much as those that are not, of which there are more."""
    each = normalize(vectors)
    first, second = torch.triu_indices(len(each), len(each), offset=1, device=each.device)
    error = ((each @ each.T - wanted) ** 2)[first, second]
    alike = wanted[first, second] > 0
    halves = (error[alike], error[~alike])
    return torch.stack([half.sum() / max(1, len(half)) for half in halves]).sum()


def _mean_token(model: AlbertModel, batch: dict[str, Tensor], device: torch.device) -> Tensor:
    """[texts, hidden]."""
    ids, mask = batch["input_ids"].to(device), batch["attention_mask"].to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16()):
        tokens = model(input_ids=ids, attention_mask=mask).last_hidden_state
    return mean_token(tokens.float(), mask)


def _batches(lengths: Sequence[int]) -> Iterator[NDArray[np.int64]]:
    """Rows in new order each epoch, until so many tokens are read; the last batch of an epoch is
    left out where others were full: it has few pairs."""
    draw, left = np.random.default_rng(_SEED), _TOKENS
    size = min(_BATCH, len(lengths))
    for _ in range(_EPOCHS):
        order = draw.permutation(len(lengths))
        for first in range(0, len(order) - size + 1, size):
            rows = order[first : first + size]
            left -= sum(lengths[row] for row in rows.tolist())
            if left < 0:
                return
            yield rows
