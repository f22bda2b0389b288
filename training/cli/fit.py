"""`winnow-train fit`: a model from examples, or from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_app.core.errors import ConfigError
from training.cli.options import (
    Checkpoints,
    DataFolder,
    Encoder,
    Out,
    Report,
    Steps,
    tell,
)


def fit(
    out: Out,
    examples: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|FOLDER",
            help="Labelled texts: CSV, JSON Lines or Parquet, or a folder of mails or texts for "
            "each label.",
        ),
    ] = None,
    labels: Annotated[
        str, typer.Option(metavar="A,B,…", help="Learn these labels alone. Default: all.")
    ] = "",
    text_field: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of the texts.")
    ] = None,
    label_field: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of the labels.")
    ] = None,
    feedback: Annotated[
        str | None,
        typer.Option(
            metavar="ROUTE", help="Also learn the corrections on this route, with --config."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="The service's configuration (TOML)."),
    ] = None,
    false_positives: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            min=0,
            max=1,
            help="Act on a label only from a score on that this share of other labels' texts "
            "reaches, chosen out of fold. Default: 0.01, if there are enough; 1: on each.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Instead of --examples, all the switches: a shipped recipe, such as spam, or a "
            "file.",
        ),
    ] = None,
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
    """Make a model from labelled examples; or by a recipe, with all the switches.

    With --examples: a classifier on builtin:encoder and an n-gram head, measured by
    cross-validation. With --recipe: an encoder fine-tuned, calibrated, evaluated and sealed; on
    several GPUs or machines by accelerate launch -m training fit …, or torchrun -m training fit …
    """
    if (examples is None) == (recipe is None):
        raise ConfigError("give either --examples FILE, or --recipe NAME for all the switches")
    if examples is not None:
        if teacher or steps or checkpoints or tensorboard or mlflow or tokenizer != ".":
            raise ConfigError(
                "--teacher, --steps, --checkpoints, --tensorboard, --mlflow and --tokenizer are "
                "for --recipe: with --examples there is nothing to set"
            )
        from training.cli.fit_examples import Given, fit_examples

        wanted = [name for each in labels.split(",") if (name := " ".join(each.split()))]
        fit_examples(
            Given(
                examples=examples,
                labels=wanted,
                text_field=text_field,
                label_field=label_field,
                feedback=feedback,
                config=config,
                encoder=encoder,
                false_positives=false_positives,
                out=out,
                report=report,
            )
        )
        return
    assert recipe is not None
    if false_positives is not None:
        raise ConfigError("--false-positives is for --examples: a recipe says it in [decide]")
    from training.fitting.build import FitJob, build
    from training.fitting.progress import tensorboard_callback
    from training.recipes import load_recipe

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
