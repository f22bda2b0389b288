"""One model whose weights are the mean of several runs': better than most, and no dearer to serve.

Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy
without increasing inference time", 2022 (the uniform soup). The runs must start from one encoder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from stream_app.core.errors import ModelError
from stream_app.model.artifact import NGRAMS, TOKENIZER, WEIGHTS, Artifact, sha256
from training.data.corpus import load_corpus
from training.fitting.model_files import copy_tokenizer
from training.fitting.seal import ENGINE, seal
from training.judging.evaluate import score
from training.judging.figures import measure
from training.recipe import Recipe


def average(models: Sequence[Artifact], recipe: Recipe, data: Path, out: Path) -> Artifact:
    """Write the mean of the models' weights to `out`, calibrated and evaluated by the recipe.

    Raises ModelError when the models differ in more than their weights.
    """
    _check_alike(models)
    first, corpus = models[0], load_corpus(recipe, data)
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(first.path / "config.json", out / "config.json")
    copy_tokenizer(first.tokenizer, out)
    _write_mean([model.path / WEIGHTS for model in models], out / WEIGHTS)
    parts = [
        {
            "digest": model.digest,
            "validation_macro_f1": measure(score(model, corpus.validation, ENGINE), model.card)[
                "macro_f1"
            ],
            "training": model.card.training,
        }
        for model in models
    ]
    card = first.card.model_copy(
        update={
            "tokenizer": ".",
            "training": {"average_of": parts},
            "data": corpus.lineage,
        }
    )
    return seal(out, card, corpus, recipe)


def _check_alike(models: Sequence[Artifact]) -> None:
    first = models[0]
    if any((model.path / NGRAMS).exists() for model in models):
        raise ModelError(
            "n-gram heads are not averaged: average the models without them, then give the result "
            "one with winnow-train add ngrams"
        )
    for other in models[1:]:
        same = {
            "labels": first.card.labels == other.card.labels,
            "text preparation": first.card.preparation == other.card.preparation,
            "tokenizer": sha256(first.tokenizer / TOKENIZER) == sha256(other.tokenizer / TOKENIZER),
            "shape": _config(first) == _config(other),
        }
        unlike = [name for name, holds in same.items() if not holds]
        if unlike:
            raise ModelError(
                f"{first.path} and {other.path} cannot be averaged: another {', '.join(unlike)}"
            )


def _config(model: Artifact) -> object:
    return json.loads((model.path / "config.json").read_bytes())


def _write_mean(files: Sequence[Path], out: Path) -> None:
    """In float32, then stored as the first file's are."""
    weights = [load_file(file) for file in files]
    mean = {
        name: torch.stack([each[name].float() for each in weights]).mean(0).to(tensor.dtype)
        for name, tensor in weights[0].items()
    }
    save_file(mean, out, metadata={"format": "pt"})
    out.chmod(0o644)  # safetensors writes for its owner only
