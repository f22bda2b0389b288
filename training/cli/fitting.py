"""Commands that make a model or a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.cli.options import (
    DataFolder,
    Encoder,
    ModelReference,
    RecipeName,
    Report,
    Steps,
    tell,
)


def fit(
    recipe: RecipeName,
    out: Annotated[Path, typer.Option(help="The folder to make: a model `winnow` can serve.")],
    data: DataFolder = Path(),
    encoder: Encoder = None,
    tokenizer: Annotated[
        str,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the tokenizer, relative to --out: ../tokenizer lets models share one.",
        ),
    ] = ".",
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REF|tfidf",
            help="Also learn what this model says of the training texts, or TF-IDF fitted to them. "
            "Several are averaged.",
        ),
    ] = None,
    steps: Steps = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            help="Keep checkpoints here. After a kill the same command goes on from them."
        ),
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Log the run for TensorBoard.")
    ] = None,
    mlflow: Annotated[
        bool, typer.Option(help="Log the run to MLflow, to where MLFLOW_TRACKING_URI says.")
    ] = False,
    report: Report = None,
) -> None:
    """Fine-tune an encoder by a recipe; then calibrate, evaluate and seal the model.

    On several GPUs or machines: accelerate launch -m training fit …, or torchrun -m training fit …
    """
    from training.fitting.build import FitJob
    from training.fitting.build import fit as run
    from training.fitting.progress import tensorboard_callback
    from training.recipe import load_recipe

    job = FitJob(
        recipe=load_recipe(recipe),
        data=data,
        encoder=encoder,
        out=out,
        tokenizer=tokenizer,
        steps=steps,
        checkpoints=checkpoints,
        teachers=teacher or [],
        log_to=["mlflow"] if mlflow else [],
        callbacks=[tensorboard_callback(tensorboard)] if tensorboard else [],
    )
    artifact = run(job)
    if artifact is not None:
        tell(artifact.card.evaluation, report)


def ngrams(
    model: ModelReference,
    recipe: RecipeName,
    out: Annotated[Path, typer.Option(help="The folder to make: a model `winnow` can serve.")],
    data: DataFolder = Path(),
    tokenizer: Annotated[
        str, typer.Option(metavar="FOLDER", help="Folder of the tokenizer, relative to --out.")
    ] = ".",
    report: Report = None,
) -> None:
    """Give a fitted model the recipe's n-gram head; then calibrate, evaluate and seal it.

    `fit` does this too, after it has fitted the encoder.
    """
    from stream_app.model.references import resolve
    from training.fitting.build import FitJob, fit_ngrams
    from training.recipe import load_recipe

    job = FitJob(load_recipe(recipe), data, None, out, tokenizer)
    tell(fit_ngrams(job, resolve(model)).card.evaluation, report)


def exits(
    model: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A fitted model; the exits are added to it.")
    ],
    recipe: RecipeName,
    data: DataFolder = Path(),
    rows: Annotated[int, typer.Option(min=1, help="Training texts to learn from.")] = 5000,
    report: Report = None,
) -> None:
    """Give a fitted model early exits, which `engine.early_exit` turns on.

    A text whose label is clear behind a few layers then goes through no more of them.
    """
    from stream_app.model.artifact import load_artifact
    from training.data.corpus import load_corpus
    from training.fitting.seal import ENGINE
    from training.improving.exits import add_exits
    from training.recipe import load_recipe

    corpus = load_corpus(load_recipe(recipe), data)
    tell(add_exits(load_artifact(model), corpus, rows, ENGINE), report)


def average(
    models: Annotated[list[str], typer.Argument(metavar="REF…", help="Two models or more.")],
    recipe: RecipeName,
    out: Annotated[Path, typer.Option(help="The folder to make: a model `winnow` can serve.")],
    data: DataFolder = Path(),
    report: Report = None,
) -> None:
    """Average the weights of models fitted from one encoder into one, and measure it.

    It costs no more to serve than each of them.
    """
    from stream_app.model.references import resolve
    from training.improving.average import average as run
    from training.recipe import load_recipe

    artifact = run([resolve(model) for model in models], load_recipe(recipe), data, out)
    tell({**artifact.card.evaluation, **artifact.card.training}, report)


def search(
    recipe: RecipeName,
    out: Annotated[Path, typer.Option(help="The recipe to write, with what was found.")],
    data: DataFolder = Path(),
    encoder: Encoder = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Runs of the recipe, those ended early too.")
    ] = 20,
    steps: Steps = None,
    study: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the trials here: the same command goes on."),
    ] = None,
    report: Report = None,
) -> None:
    """Look for better hyper-parameters with Optuna; what falls behind is ended early."""
    from training.fitting.build import FitJob
    from training.improving.search import search as run
    from training.recipe import load_recipe

    job = FitJob(load_recipe(recipe), data, encoder, out, steps=steps)
    tell(run(job, trials, study), report)
