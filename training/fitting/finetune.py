"""Fine-tuning: an encoder and labelled texts -> a classifier, an ALBERT or a teacher of one.

The same code runs as one process or, under `accelerate launch` or `torchrun`, as many.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from torch.utils.data import Dataset
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.utils import logging as transformers_logging

from stream_app.core.errors import ConfigError
from stream_app.core.machine import cores
from stream_app.engine.protocol import TokenIds
from stream_app.model.artifact import Problem
from training.fitting.loss import Loss, class_weights
from training.fitting.optimizer import optimizer
from training.fitting.progress import MISSING, ProgressLines, ReshuffleEachEpoch
from training.recipe import Hyper, Recipe

_log = logging.getLogger(__name__)
Classifier = TypeVar("Classifier", bound=PreTrainedModel)
_REPORT_STEPS = 50
_LENGTH_STEP = 16  # batches come in few shapes: the CPU's kernels are compiled for each new one
_ORIGIN = "made_from.json"


@dataclass(frozen=True)
class Tokenized(Dataset[dict[str, Any]]):
    """Token ids and targets, as `Trainer` reads them.

    `targets` [rows, labels] are probabilities: 1 for a text's label, a teacher's scores, or, where
    the problem is multi-label, 1 for each of its labels.
    """

    ids: Sequence[TokenIds]
    targets: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    def repeated(self, times: Sequence[int]) -> Tokenized:
        """Each row as often as `times` [rows] says."""
        rows = np.repeat(np.arange(len(self.ids)), times).tolist()
        return Tokenized([self.ids[row] for row in rows], self.targets[rows])

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": self.ids[index], "labels": self.targets[index]}


@dataclass(frozen=True, slots=True)
class FitRun:
    """What a run is besides its recipe."""

    scratch: Path  # for checkpoints without --checkpoints
    steps: int | None = None  # end early: to try things out
    checkpoints: Path | None = None  # continue from the last one in it, and add to them
    origin: Mapping[str, Any] = field(default_factory=dict)  # besides the recipe: data and encoder
    log_to: Sequence[str] = ()  # of transformers' integrations, such as mlflow
    callbacks: Sequence[TrainerCallback] = ()


def fine_tune(
    recipe: Recipe,
    encoder: Path,
    data: Tokenized,
    validation: Tokenized | None,
    run: FitRun,
    read: Callable[..., Classifier],
) -> Classifier:
    """The encoder with a trained classifier on top, in float32 on the CPU.

    `read` makes the untrained one: the `from_pretrained` of a kind of model.

    Batches hold texts of about one length, so little is spent on padding. Arithmetic is bfloat16
    where the processor has it, weights stay float32. Raises ConfigError when the checkpoints to
    continue from are of another run, or a package to log to is missing.
    """
    quiet()
    use_cores()
    set_seed(recipe.hyper.seed)
    model = _classifier(recipe, encoder, read)
    arguments = _arguments(recipe.hyper, run, evaluates=bool(validation))
    order = torch.Generator()
    weights = class_weights(data.targets) if recipe.hyper.class_weights == "balanced" else None
    trainer = _Trainer(
        _sampler(data, recipe.hyper, order),
        model=model,
        args=arguments,
        train_dataset=data,
        eval_dataset=validation if validation else None,
        data_collator=Padded(int(model.config.pad_token_id or 0)),
        compute_loss_func=Loss(recipe.problem, recipe.hyper.label_smoothing, weights),
        compute_metrics=partial(_metrics, problem=recipe.problem),
        optimizers=(optimizer(model, recipe.hyper), None),
        callbacks=_callbacks(recipe.hyper, run, order),
    )
    if arguments.disable_tqdm:
        trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=_last_checkpoint(run, recipe, arguments))
    torch.nn.Module.to(model, "cpu")
    torch.nn.Module.eval(model)
    return model


@dataclass(frozen=True)
class Padded:
    """Pads a batch: `input_ids` and `attention_mask` are [batch, longest, rounded up]."""

    pad: int

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)
        shape = len(rows), -(-longest // _LENGTH_STEP) * _LENGTH_STEP
        ids = torch.full(shape, self.pad, dtype=torch.int64)
        mask = torch.zeros(shape, dtype=torch.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row["input_ids"])] = torch.as_tensor(row["input_ids"])
            mask[number, : len(row["input_ids"])] = 1
        targets = torch.as_tensor(np.stack([row["labels"] for row in rows]))
        return {"input_ids": ids, "attention_mask": mask, "labels": targets}


class _Trainer(Trainer):
    """Draws the order of each epoch from seed and epoch alone.

    transformers draws it from the state of the global generator, so that a run which is resumed
    would not see the texts that the killed one still had before it.
    """

    def __init__(self, sampler: LengthGroupedSampler, **given: Any) -> None:
        super().__init__(**given)
        self._sampler = sampler

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        return self._sampler


def quiet() -> None:
    """The library's own report on every model it loads says nothing that is not meant."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def use_cores() -> None:
    """Give torch every core, or the threads that OMP_NUM_THREADS names.

    An engine that was loaded before may have set another number, and the gradient of a norm is
    summed thread by thread: another number of threads makes another model of the same seed.
    """
    named = os.environ.get("OMP_NUM_THREADS", "")
    torch.set_num_threads((int(named) if named.isdecimal() else 0) or cores())


def has_bfloat16() -> bool:
    """Whether bfloat16 is fast here: on the GPU if there is one, else on this processor."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def attention() -> str:
    """Which attention trains fastest: on a CPU torch's fused one takes twice as long for a step."""
    return "sdpa" if torch.cuda.is_available() else "eager"


def _classifier(recipe: Recipe, encoder: Path, read: Callable[..., Classifier]) -> Classifier:
    names = dict(enumerate(recipe.labels))
    return read(
        encoder,
        dtype=torch.float32,
        use_safetensors=True,
        id2label=names,
        label2id={label: index for index, label in names.items()},
        problem_type=f"{recipe.problem}_classification",
        attn_implementation=attention(),
    )


def _arguments(hyper: Hyper, run: FitRun, evaluates: bool) -> TrainingArguments:
    for package in run.log_to:
        if find_spec(package) is None:
            raise ConfigError(MISSING.format(package))
    cuda, several = torch.cuda.is_available(), torch.distributed.is_torchelastic_launched()
    often = "steps" if hyper.evaluate_steps else "epoch"
    stops_early = hyper.patience > 0
    if stops_early and not evaluates:
        raise ConfigError("patience needs a validation part to watch; set it to 0 or name one")
    return TrainingArguments(
        output_dir=str(run.checkpoints or run.scratch),
        num_train_epochs=hyper.epochs,
        max_steps=run.steps or -1,
        per_device_train_batch_size=hyper.batch_size,
        per_device_eval_batch_size=hyper.batch_size,
        gradient_accumulation_steps=hyper.accumulate,
        learning_rate=hyper.learning_rate,
        warmup_steps=hyper.warmup_steps,
        weight_decay=hyper.weight_decay,
        seed=hyper.seed,
        bf16=has_bfloat16(),
        use_cpu=not cuda,
        ddp_backend="gloo" if several and not cuda else None,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=cuda,
        logging_steps=_REPORT_STEPS,
        eval_strategy=often if evaluates else "no",
        eval_steps=hyper.evaluate_steps,
        save_strategy=often if run.checkpoints or stops_early else "no",
        save_steps=hyper.evaluate_steps or _REPORT_STEPS,
        save_total_limit=2,
        load_best_model_at_end=stops_early,
        metric_for_best_model="eval_loss" if stops_early else None,
        greater_is_better=False if stops_early else None,
        report_to=list(run.log_to) or "none",
        disable_tqdm=not sys.stderr.isatty(),
    )


def _sampler(data: Tokenized, hyper: Hyper, order: torch.Generator) -> LengthGroupedSampler:
    lengths = [len(ids) for ids in data.ids]
    return LengthGroupedSampler(
        hyper.batch_size * hyper.accumulate, lengths=lengths, generator=order
    )


def _callbacks(hyper: Hyper, run: FitRun, order: torch.Generator) -> list[TrainerCallback]:
    callbacks = [ReshuffleEachEpoch(order, hyper.seed), *run.callbacks]
    if not sys.stderr.isatty():
        callbacks.append(ProgressLines(_log))
    if hyper.patience:
        callbacks.append(EarlyStoppingCallback(hyper.patience))
    return callbacks


def _metrics(found: EvalPrediction, problem: Problem) -> dict[str, float]:
    logits, targets = np.asarray(found.predictions), np.asarray(found.label_ids)
    if problem == "multi_label":
        predicted, truth = logits > 0, targets > 0.5
        right = (predicted == truth).all(axis=1)
    else:
        predicted, truth = logits.argmax(axis=1), targets.argmax(axis=1)
        right = predicted == truth
    f1 = f1_score(truth, predicted, average="macro", zero_division=0.0)
    return {"accuracy": float(right.mean()), "macro_f1": float(f1)}


def _last_checkpoint(run: FitRun, recipe: Recipe, arguments: TrainingArguments) -> str | None:
    """The newest complete checkpoint: the file looked for is the last that one gets."""
    if run.checkpoints is None:
        return None
    folder = run.checkpoints
    if arguments.process_index == 0:
        _check_origin(folder, {"recipe": recipe.model_dump(mode="json"), **run.origin})
    done = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json")]
    newest = max(done, key=lambda path: int(path.name.partition("-")[2]), default=None)
    if newest is not None:
        _log.info("continuing from %s", newest.name)
    return str(newest) if newest else None


def _check_origin(folder: Path, origin: Mapping[str, Any]) -> None:
    """Notes in a folder of checkpoints what they are made from; refuses those of another run."""
    note, text = folder / _ORIGIN, json.dumps(origin, indent=2)
    if not note.exists():
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(text)
    elif note.read_text() != text:
        raise ConfigError(
            f"the checkpoints in {folder} are of another recipe, encoder or data: "
            "give another --checkpoints, or delete them"
        )
