"""What happens around the steps of a fine-tuning run."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import TensorBoardCallback

from stream_app.core.errors import ConfigError

MISSING = "{} is not installed: pip install 'winnow-stream[track]'"


def tensorboard_callback(folder: Path) -> TrainerCallback:
    """Writes a run's losses for TensorBoard to `folder`. Raises ConfigError without the package."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError(MISSING.format("tensorboard")) from None
    return TensorBoardCallback(SummaryWriter(str(folder)))


class ReshuffleEachEpoch(TrainerCallback):
    """Seeds the generator of an epoch's order with seed and epoch, and nothing that went before."""

    def __init__(self, generator: torch.Generator, seed: int) -> None:
        self._generator = generator
        self._seed = seed

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._generator.manual_seed(self._seed + int(state.epoch or 0))


class StopAfter(TrainerCallback):
    """Ends a run after so many minutes, with what it has learnt by then."""

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        control.should_training_stop |= time.monotonic() >= self._end


class ProgressLines(TrainerCallback):
    """One line of progress every few steps, if there is no terminal."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._started = time.monotonic()

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
        if not state.is_world_process_zero or not logs:
            return
        names = {"loss": "loss", "eval_loss": "validation loss", "eval_macro_f1": "macro-F1"}
        figures = ", ".join(f"{names[key]} {logs[key]:.4f}" for key in names if key in logs)
        if figures:
            minutes = (time.monotonic() - self._started) / 60
            step = f"step {state.global_step} of {state.max_steps}"
            self._log.info("%s, %.1f minutes, %s", step, minutes, figures)
