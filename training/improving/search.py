"""Hyper-parameter search: Optuna's TPE proposes, its median pruner stops bad trials.

Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization Framework", 2019.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import optuna
import tomli_w
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from stream_app.core.errors import ConfigError
from training.data.corpus import load_corpus
from training.fitting.build import FitJob, fit_model, load_encoder
from training.recipe import Hyper, Recipe

_log = logging.getLogger(__name__)
_SPREAD = 4  # the learning rate is looked for between a fourth of the recipe's and four times it
_UNPRUNED = 3  # trials that run to their end before any is judged


def search(job: FitJob, trials: int, study_file: Path | None = None) -> dict[str, Any]:
    """Run trials and write the recipe with the best hyper-parameters to `job.out`.

    The best has the highest macro-F1 on the validation part after its last evaluation. With
    `study_file` a search resumes where an earlier one of that file ended. Raises ConfigError
    without a validation part.
    """
    encoder = load_encoder(job.recipe, job.encoder)
    corpus = load_corpus(job.recipe, job.data)
    if not corpus.validation:
        raise ConfigError(f"recipe {job.recipe.name} has no validation part to search on")
    study = _study(job.recipe, study_file)

    def objective(trial: optuna.Trial) -> float:
        hyper = proposed(trial, job.recipe.hyper)
        watch = _Watch(trial)
        recipe = job.recipe.model_copy(update={"hyper": hyper})
        trying = dataclasses.replace(job, recipe=recipe, callbacks=[*job.callbacks, watch])
        fit_model(trying, encoder, corpus)
        return watch.last

    done = sum(trial.state.is_finished() for trial in study.trials)
    study.optimize(objective, n_trials=max(0, trials - done))
    best = proposed(optuna.trial.FixedTrial(study.best_params), job.recipe.hyper)
    _write_recipe(job.recipe.model_copy(update={"hyper": best}), job.out)
    return {
        "trials": [_told(trial) for trial in study.trials],
        "best": study.best_trial.number,
        "macro_f1": round(study.best_value, 4),
        "hyper": best.model_dump(),
    }


def proposed(trial: optuna.trial.BaseTrial, base: Hyper) -> Hyper:
    """The recipe's hyper-parameters with the trial's in their place."""
    rate = base.learning_rate
    return base.model_copy(
        update={
            "learning_rate": trial.suggest_float(
                "learning_rate", rate / _SPREAD, rate * _SPREAD, log=True
            ),
            "batch_size": trial.suggest_categorical("batch_size", [16, 32, 64]),
            "weight_decay": trial.suggest_categorical("weight_decay", [0.0, 0.01, 0.1]),
            "label_smoothing": trial.suggest_float("label_smoothing", 0.0, 0.1),
            "layer_decay": trial.suggest_float("layer_decay", 0.6, 1.0),
        }
    )


class _Watch(TrainerCallback):
    """Tells Optuna each evaluation, and ends the trial where Optuna says so."""

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial = trial
        self._evaluations = 0
        self.last = 0.0

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **given: Any,
    ) -> None:
        self.last = given["metrics"]["eval_macro_f1"]
        self._evaluations += 1
        self._trial.report(self.last, self._evaluations)
        if self._trial.should_prune():
            raise optuna.TrialPruned


def _study(recipe: Recipe, file: Path | None) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=recipe.name,
        direction="maximize",
        storage=JournalStorage(JournalFileBackend(str(file))) if file else None,
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=recipe.hyper.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED),
    )


def _told(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "macro_f1": None if trial.value is None else round(trial.value, 4),
        "evaluations": len(trial.intermediate_values),
        **trial.params,
    }


def _write_recipe(recipe: Recipe, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True)))
