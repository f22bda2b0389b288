"""`winnow-train add`: a part that a fitted model lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from training.cli.options import DataFolder, RecipeName, Report, tell


def add(
    part: Annotated[
        Literal["ngrams", "exits", "decisions", "drift-reference"],
        typer.Argument(
            metavar="PART",
            help="ngrams: the recipe's n-gram head. exits: early exits, for engine.early_exit. "
            "decisions: calibration, the recipe's bars, and familiarity. "
            "drift-reference: the histograms that drift is measured against.",
        ),
    ],
    model: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A fitted model; it is changed in place.")
    ],
    recipe: RecipeName,
    data: DataFolder = Path(),
    report: Report = None,
) -> None:
    """Add a part to a fitted model, from the texts of a recipe, and report its figures.

    `fit` adds all but the exits itself. With a new n-gram head or decisions the model is calibrated
    and evaluated again, and loses its early exits.
    """
    from stream_app.model.artifact import load_artifact
    from training.data.corpus import load_corpus
    from training.fitting.build import add_decisions, add_ngrams
    from training.fitting.drift_reference import add_reference
    from training.fitting.seal import ENGINE
    from training.improving.exits import add_exits
    from training.recipes import load_recipe

    fitted, made_by = load_artifact(model), load_recipe(recipe)
    if part == "ngrams":
        told = add_ngrams(fitted, made_by, data).card.evaluation
    elif part == "decisions":
        told = add_decisions(fitted, made_by, data).card.evaluation
    elif part == "exits":
        told = add_exits(fitted, load_corpus(made_by, data), ENGINE)
    else:
        told = add_reference(fitted, load_corpus(made_by, data), ENGINE)
    tell(told, report)
