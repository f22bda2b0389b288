"""`winnow-train evaluate`: the accuracy of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_app.core.errors import ConfigError
from training.cli.options import (
    Device,
    EngineName,
    Html,
    Precision,
    Report,
    tell,
    tell_scored,
)


def evaluate(
    data: Annotated[
        Path,
        typer.Option(help="A file of labelled messages; with --recipe, the folder of its files."),
    ],
    model: Annotated[
        str | None, typer.Option(metavar="REF", help="builtin:NAME, a path, or hf://ORG/NAME.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Take the test parts of this recipe's files."),
    ] = None,
    names: Annotated[
        bool,
        typer.Option(
            "--list", help="Run no model: list the recipe's test messages by file, name and label."
        ),
    ] = False,
    engine: EngineName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    report: Report = None,
    html: Html = None,
) -> None:
    """Measure a model on labelled messages, on the engine that serves: figures by file, as JSON.

    No model fitted from a recipe has seen its test parts.
    """
    from stream_app.model.references import resolve
    from training.data.corpus import held_out_messages, read_file, read_test
    from training.judging.evaluate import score
    from training.recipes import load_recipe

    if names:
        if recipe is None:
            raise ConfigError("--list is of a recipe's test parts: give --recipe")
        tell(held_out_messages(load_recipe(recipe), data), report)
        return
    if model is None:
        raise ConfigError("give --model, or --list with --recipe")
    artifact = resolve(model)
    how = artifact.card.preparation
    if recipe is None:
        tests = {data.name: read_file(data, how)}
    else:
        tests = read_test(load_recipe(recipe), data, how)
    scored = {
        name: score(artifact, part, engine, device, precision) for name, part in tests.items()
    }
    about = {"model": model, "digest": artifact.digest, "engine": engine, "precision": precision}
    tell_scored(about, scored, artifact.card, report, html)
