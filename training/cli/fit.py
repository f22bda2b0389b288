"""`winnow-train fit`: a model from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.cli.options import (
    Checkpoints,
    DataFolder,
    Encoder,
    Out,
    RecipeName,
    Report,
    Steps,
    tell,
)


def fit(
    recipe: RecipeName,
    out: Out,
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
            help="Also fit to this model's scores of the training texts, or to those of TF-IDF. "
            "Any sequence classifier of transformers will do. Several are averaged.",
        ),
    ] = None,
    steps: Steps = None,
    checkpoints: Checkpoints = None,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Log the run for TensorBoard.")
    ] = None,
    mlflow: Annotated[
        bool, typer.Option(help="Log the run to MLflow, at MLFLOW_TRACKING_URI.")
    ] = False,
    report: Report = None,
) -> None:
    """Fine-tune an encoder by a recipe; then calibrate, evaluate and seal the model.

    On several GPUs or machines: accelerate launch -m training fit …, or torchrun -m training fit …
    """
    from training.fitting.build import FitJob, build
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
    artifact = build(job)
    if artifact is not None:
        tell(artifact.card.evaluation, report)
