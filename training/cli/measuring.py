"""Commands that measure a model, a recipe, or this machine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from training.cli.options import (
    DataFolder,
    Device,
    Encoder,
    EngineName,
    Html,
    ModelReference,
    Precision,
    RecipeName,
    Report,
    Steps,
    tell,
    tell_figures,
)


class HeldOut(StrEnum):
    """What `cross-validate` keeps from a model to test it on."""

    FOLD = "fold"
    SOURCE = "source"


def evaluate(
    model: ModelReference,
    data: Annotated[
        Path,
        typer.Option(help="A file of labelled messages; with --recipe, the folder of its files."),
    ],
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Take the test parts of this recipe's files."),
    ] = None,
    engine: EngineName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    report: Report = None,
    html: Html = None,
) -> None:
    """Measure a model on labelled messages, on the engine that serves: figures by file, as JSON."""
    from stream_app.model.references import resolve
    from training.data.corpus import read_file, read_test
    from training.judging.evaluate import score
    from training.recipe import load_recipe

    artifact = resolve(model)
    how = artifact.card.preparation
    if recipe is None:
        tests = {data.name: read_file(data, how)}
    else:
        tests = read_test(load_recipe(recipe), data, how)
    scored = {
        name: score(artifact, part, engine, device, precision) for name, part in tests.items()
    }
    about = {
        "model": model,
        "digest": artifact.digest,
        "engine": engine,
        "precision": precision,
    }
    tell_figures(about, scored, artifact.card, report, html)


def cross_validate(
    recipe: RecipeName,
    data: DataFolder = Path(),
    encoder: Encoder = None,
    by: Annotated[
        HeldOut,
        typer.Option(help="fold: every message, out of fold. source: each corpus by the others."),
    ] = HeldOut.FOLD,
    folds: Annotated[int, typer.Option(min=2, help="Models to fit, with --by fold.")] = 5,
    steps: Steps = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Also write the figures into this model's card."),
    ] = None,
    report: Report = None,
    html: Html = None,
) -> None:
    """Measure a recipe on messages, or on whole corpora, that its model did not learn from.

    Near-duplicates are never on both sides. It fits a model for every fold or source.
    """
    from training.fitting.build import FitJob, empty_card, load_encoder
    from training.fitting.seal import ENGINE
    from training.improving.cross_validate import add_to_card, cross_corpus, model_of, out_of_fold
    from training.recipe import load_recipe

    job = FitJob(load_recipe(recipe), data, encoder, out=Path(), steps=steps)
    if model:
        model_of(job.recipe, model)  # refused now, not after the hours that follow
    start = load_encoder(job.recipe, encoder)
    scored = out_of_fold(job, start, folds) if by is HeldOut.FOLD else cross_corpus(job, start)
    about = {"model": f"recipe {recipe}, by {by}", "engine": ENGINE, "precision": "auto"}
    told = tell_figures(about, scored, empty_card(job.recipe), report, html)
    if model:
        how = {
            "encoder": start.digest,
            "steps": steps,
            "fits": folds if by is HeldOut.FOLD else len(scored),
        }
        add_to_card(model_of(job.recipe, model), by, {**how, "test": told["test"]})


def split(recipe: RecipeName, data: DataFolder = Path(), report: Report = None) -> None:
    """Tell a recipe's test messages, which no model made by it has seen: file, name, label."""
    from training.data.corpus import held_out_messages
    from training.recipe import load_recipe

    tell(held_out_messages(load_recipe(recipe), data), report)


def advise(
    texts_per_second: Annotated[
        float | None, typer.Option(min=0, help="What the model must reach.")
    ] = None,
    latency_ms: Annotated[
        float | None, typer.Option(min=0, help="What 95 of 100 texts alone must stay under.")
    ] = None,
    tokens: Annotated[int, typer.Option(help="Tokens of a text.")] = 128,
    engine: EngineName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    report: Report = None,
) -> None:
    """Advise a size of ALBERT: the largest that reaches a target, measured on this machine."""
    from training.improving.advise import Target
    from training.improving.advise import advise as run

    target = Target(tokens, texts_per_second, latency_ms)
    tell(run(target, engine, device, precision), report)
