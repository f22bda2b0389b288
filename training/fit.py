"""Fine-tuning: an encoder and labelled texts -> an ALBERT classifier."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import (
    AlbertForSequenceClassification,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from stream_app.engine.protocol import TokenIds
from training.recipe import Hyper, Recipe

_log = logging.getLogger(__name__)
_REPORT_STEPS = 50
_LENGTH_STEP = 16  # batches come in few shapes: the CPU's kernels are compiled for each new one


@dataclass(frozen=True)
class Tokenized(Dataset[dict[str, Any]]):
    """Token ids and label indexes, as `Trainer` reads them."""

    ids: Sequence[TokenIds]
    labels: Sequence[int]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": self.ids[index], "labels": self.labels[index]}


def fine_tune(
    recipe: Recipe, encoder: Path, data: Tokenized, *, steps: int | None, scratch: Path
) -> AlbertForSequenceClassification:
    """The encoder with a trained classifier on top, in float32 on the CPU.

    Batches hold texts of about one length, so little is spent on padding. Arithmetic is bfloat16
    where the processor has it, weights stay float32. `steps` ends training early.
    """
    quiet()
    set_seed(recipe.hyper.seed)
    names = dict(enumerate(recipe.labels))
    model: AlbertForSequenceClassification = AlbertForSequenceClassification.from_pretrained(
        encoder,
        dtype=torch.float32,
        use_safetensors=True,
        # on a CPU the fused kernel's backward pass takes longer than all the rest of a step
        attn_implementation="sdpa" if torch.cuda.is_available() else "eager",
        id2label=names,
        label2id={label: index for index, label in names.items()},
        problem_type="single_label_classification",
    )
    trainer = Trainer(
        model=model,
        args=_arguments(recipe.hyper, steps, scratch),
        train_dataset=data,
        data_collator=Padded(int(model.config.pad_token_id or 0)),
        callbacks=[_Report()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    torch.nn.Module.to(model, "cpu")
    model.eval()
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
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": torch.as_tensor([row["labels"] for row in rows]),
        }


def quiet() -> None:
    """The library's own report on every model it loads says nothing that is not meant."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def has_bfloat16() -> bool:
    """Whether bfloat16 is fast here: on the GPU if there is one, else on this processor."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def _arguments(hyper: Hyper, steps: int | None, scratch: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=hyper.epochs,
        max_steps=steps or -1,
        per_device_train_batch_size=hyper.batch_size,
        learning_rate=hyper.learning_rate,
        warmup_steps=hyper.warmup_steps,
        weight_decay=hyper.weight_decay,
        seed=hyper.seed,
        bf16=has_bfloat16(),
        use_cpu=not torch.cuda.is_available(),
        train_sampling_strategy="group_by_length",
        dataloader_pin_memory=torch.cuda.is_available(),
        logging_steps=_REPORT_STEPS,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


class _Report(TrainerCallback):
    """One line of progress every few steps, instead of the library's own print."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._started = time.monotonic()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        if logs and "loss" in logs:
            minutes = (time.monotonic() - self._started) / 60
            step = f"step {state.global_step} of {state.max_steps}"
            _log.info("%s, %.1f minutes, loss %.4f", step, minutes, float(logs["loss"]))
