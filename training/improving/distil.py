"""Distillation: a BERT-like teacher -> a true ALBERT (one shared layer, factorised embeddings).

The student imitates every hidden state, the mean-pooled sentence vector and its similarities within
the batch: Jiao et al., "TinyBERT", 2020; Reimers and Gurevych, "Making Monolingual Sentence
Embeddings Multilingual", 2020; Park et al., "Relational Knowledge Distillation", 2019.
"""

from __future__ import annotations

import copy
import logging
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, mse_loss, normalize
from transformers import AlbertConfig, AlbertModel

from stream_app.core.errors import ModelError
from stream_app.engine.pooled import mean_token
from stream_app.engine.protocol import TokenIds
from stream_app.model.artifact import WEIGHTS, ModelCard, sha256
from stream_app.model.tokenizer import Tokenizer
from training.fitting.encoder import read_encoder
from training.fitting.finetune import attention, has_bfloat16, quiet, use_cores
from training.fitting.model_files import copy_tokenizer, require_encoder, unsealed

_log = logging.getLogger(__name__)
_REPORT_STEPS = 50
_SORTED = 32  # batches that are sorted by length together
_MIDDLE_LAYER = 2  # the teacher's layer that the shared one starts from

Batch = tuple[Tensor, Tensor]  # ids and mask, [batch, longest] each


@dataclass(frozen=True, slots=True)
class Distillation:
    """The student's shape and how it learns."""

    embedding_size: int = 128
    layers: int | None = None  # of the student; as many as the teacher's if not given
    steps: int = 4_600
    batch_size: int = 32
    snippet_tokens: int = 64
    learning_rate: float = 6e-4
    warmup_steps: int = 100
    held_out: int = 256  # snippets that are only measured
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Views:
    """What a student is compared by: hidden states [batch, length, hidden] a layer, the embeddings
    first; pooler output [batch, hidden]; mean-pooled sentence vectors [batch, hidden]."""

    hidden: Sequence[Tensor]
    pooled: Tensor
    sentence: Tensor


def distil(
    teacher_folder: Path,
    texts: Sequence[str],
    out: Path,
    how: Distillation,
    student_folder: Path | None = None,
) -> dict[str, Any]:
    """Make the student in folder `out`, as float16; its training texts and how close it came.

    With `student_folder` that encoder learns on, of a fine-tuned teacher for one: the second of the
    two stages of TinyBERT. Otherwise the student starts from the teacher.

    Raises ModelError when a folder has no ALBERT encoder, the two do not fit, or texts are too few.
    """
    quiet()
    use_cores()
    torch.manual_seed(how.seed)
    teacher = _load_encoder(teacher_folder)
    teacher.eval().requires_grad_(False)
    snippets = _snippets(teacher_folder, texts, how)
    if len(snippets) < how.held_out + how.batch_size:
        raise ModelError(f"{len(snippets)} texts are too few to distil from")
    held_out, learnt = snippets[: how.held_out], snippets[how.held_out :]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.nn.Module.to(teacher, device)
    if student_folder:
        student = torch.nn.Module.to(_load_student(student_folder, teacher), device)
    else:
        student = start(teacher, how, _padded(held_out, device))
    first = _measure(student, teacher, held_out, how, device)
    _log.info("at the start: %s", first)
    _train(student, teacher, learnt, how, device)
    figures = {
        "teacher": {"name": teacher_folder.resolve().name, "sha256": _digest(teacher_folder)},
        "settings": asdict(how),
        "texts": len(texts),
        "start": first,
        "end": _measure(student, teacher, held_out, how, device),
    }
    _save(student, teacher_folder, out)
    return figures


def start(teacher: AlbertModel, how: Distillation, sample: Batch) -> AlbertModel:
    """A student that is as near to the teacher as it gets without training.

    The embedding tables are a truncated SVD of the teacher's, the map from them to the hidden size
    is a least-squares fit on `sample`, and the shared layer is one of the teacher's.
    """
    embedding_size = min(how.embedding_size, teacher.config.embedding_size)
    shape = {
        "embedding_size": embedding_size,
        "num_hidden_layers": how.layers or teacher.config.num_hidden_layers,
        "num_hidden_groups": 1,
        "inner_group_num": 1,
    }
    config = AlbertConfig.from_dict(teacher.config.to_dict() | shape)
    config._attn_implementation = attention()
    student: AlbertModel = torch.nn.Module.to(AlbertModel(config), sample[0].device)
    names = ("word_embeddings", "position_embeddings", "token_type_embeddings")
    tables = [getattr(teacher.embeddings, name).weight for name in names]
    left, scale, _ = torch.linalg.svd(torch.cat(tables).float(), full_matrices=False)
    factors = (left * scale)[:, :embedding_size].split([len(table) for table in tables])
    with torch.no_grad():
        for name, factor in zip(names, factors, strict=True):
            getattr(student.embeddings, name).weight.copy_(factor)
        given, wanted = student.embeddings(sample[0]), _embedded(teacher, sample[0])
        real = sample[1].bool()
        given = torch.cat([given[real], torch.ones_like(given[real][:, :1])], dim=1)
        solution = torch.linalg.lstsq(given, wanted[real]).solution  # [embedding + 1, hidden]
        student.encoder.embedding_hidden_mapping_in.weight.copy_(solution[:-1].T)
        student.encoder.embedding_hidden_mapping_in.bias.copy_(solution[-1])
    groups = teacher.encoder.albert_layer_groups
    layer = groups[min(_MIDDLE_LAYER, len(groups) - 1)]
    student.encoder.albert_layer_groups[0].load_state_dict(layer.state_dict())
    student.pooler.load_state_dict(teacher.pooler.state_dict())
    return student


def loss(student: Views, teacher: Views, mask: Tensor) -> Tensor:
    """How far the student is from the teacher, each view by mean squared error, vectors by angle
    too; hidden states are compared layer by layer over real tokens, `mask` [batch, length].

    A student of fewer layers is compared with as many of the teacher's, evenly spread."""
    real = mask.bool()
    places = torch.linspace(0, len(teacher.hidden) - 1, len(student.hidden)).round().int().tolist()
    pairs = [(mine, teacher.hidden[at]) for mine, at in zip(student.hidden, places, strict=True)]
    hidden = torch.stack([mse_loss(mine[real], theirs[real]) for mine, theirs in pairs]).mean()
    angle = 1 - cosine_similarity(student.sentence, teacher.sentence).mean()
    similar = mse_loss(_similarities(student.sentence), _similarities(teacher.sentence))
    vectors = mse_loss(student.sentence, teacher.sentence) + mse_loss(
        student.pooled, teacher.pooled
    )
    return hidden + vectors + angle + similar


def _load_encoder(folder: Path) -> AlbertModel:
    require_encoder(folder)
    return read_encoder(folder)


def _load_student(folder: Path, teacher: AlbertModel) -> AlbertModel:
    student = _load_encoder(folder)
    for size in ("hidden_size", "vocab_size"):
        mine, theirs = getattr(student.config, size), getattr(teacher.config, size)
        if mine != theirs:
            raise ModelError(f"{folder} has {size} {mine}, its teacher {theirs}: they must agree")
    return student


def _snippets(folder: Path, texts: Sequence[str], how: Distillation) -> list[TokenIds]:
    """A window of each text in the teacher's tokens, at a random place, between [CLS] and [SEP]."""
    card = ModelCard(name="teacher", version="unversioned", labels=("-", "--"))
    encoded = Tokenizer(unsealed(folder, card)).encode(texts)
    chance = random.Random(how.seed)
    chance.shuffle(encoded)
    inside = how.snippet_tokens - 2
    windows: list[TokenIds] = []
    for ids in encoded:
        first = chance.randint(1, max(1, len(ids) - 1 - inside))
        windows.append([ids[0], *ids[first : min(first + inside, len(ids) - 1)], ids[-1]])
    return windows


def _train(
    student: AlbertModel,
    teacher: AlbertModel,
    snippets: Sequence[TokenIds],
    how: Distillation,
    device: torch.device,
) -> None:
    student.train()
    optimizer = torch.optim.AdamW(student.parameters(), lr=how.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, how))
    for step, rows in enumerate(_batches(snippets, how), 1):
        batch = _padded(rows, device)
        error = loss(_views(student, batch), _views(teacher, batch), batch[1])
        optimizer.zero_grad()
        torch.autograd.backward(error)
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % _REPORT_STEPS == 0:
            _log.info("step %d of %d, loss %.4f", step, how.steps, error.item())
    student.eval()


def _rate(step: int, how: Distillation) -> float:
    """Share of the learning rate: linear warm-up, then half a cosine to zero."""
    warmup = min(how.warmup_steps, how.steps // 4)
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, how.steps - warmup)
    return (1 + math.cos(math.pi * done)) / 2


def _batches(snippets: Sequence[TokenIds], how: Distillation) -> Iterator[list[TokenIds]]:
    """As many batches as there are steps, each of snippets of about one length: little padding."""
    chance = random.Random(how.seed)
    made = 0
    while made < how.steps:
        drawn = chance.sample(snippets, min(len(snippets), _SORTED * how.batch_size))
        drawn.sort(key=len)
        starts = list(range(0, len(drawn) - how.batch_size + 1, how.batch_size))
        chance.shuffle(starts)
        for first in starts[: how.steps - made]:
            yield drawn[first : first + how.batch_size]
        made += len(starts)


@torch.no_grad()
def _measure(
    student: AlbertModel,
    teacher: AlbertModel,
    snippets: Sequence[TokenIds],
    how: Distillation,
    device: torch.device,
) -> dict[str, float]:
    """Loss, and mean cosine between sentence vectors, on snippets that are not learnt."""
    losses, cosines = [], []
    for first in range(0, len(snippets), how.batch_size):
        batch = _padded(snippets[first : first + how.batch_size], device)
        mine, theirs = _views(student, batch), _views(teacher, batch)
        losses.append(loss(mine, theirs, batch[1]).item())
        cosines.extend(cosine_similarity(mine.sentence, theirs.sentence).tolist())
    return {
        "loss": round(sum(losses) / len(losses), 4),
        "cosine": round(sum(cosines) / len(cosines), 4),
    }


def _views(model: AlbertModel, batch: Batch) -> Views:
    ids, mask = batch
    with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=has_bfloat16()):
        out = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    hidden = [layer.float() for layer in out.hidden_states]
    return Views(hidden, out.pooler_output.float(), mean_token(hidden[-1], mask))


def _similarities(vectors: Tensor) -> Tensor:
    """Cosines between all rows: [batch, hidden] -> [batch, batch]."""
    unit = normalize(vectors)
    return unit @ unit.T


def _embedded(model: AlbertModel, ids: Tensor) -> Tensor:
    """[batch, length] -> [batch, length, hidden]: what the first layer reads."""
    embedded: Tensor = model.encoder.embedding_hidden_mapping_in(model.embeddings(ids))
    return embedded


def _padded(rows: Sequence[TokenIds], device: torch.device) -> Batch:
    tensors = [torch.as_tensor(row, dtype=torch.int64) for row in rows]
    pad = torch.nn.utils.rnn.pad_sequence
    mask = pad([torch.ones_like(row) for row in tensors], batch_first=True)
    return pad(tensors, batch_first=True).to(device), mask.to(device)


def _digest(folder: Path) -> str:
    return sha256(folder / WEIGHTS)


def _save(student: AlbertModel, teacher_folder: Path, out: Path) -> None:
    copy.deepcopy(student).cpu().half().save_pretrained(out)
    copy_tokenizer(teacher_folder, out)
