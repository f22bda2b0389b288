"""Commands about drift: what it is measured against, and waiting for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.cli.options import DataFolder, RecipeName
from training.refreshing.drift_watch import THRESHOLD


def drift_reference(
    model: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A fitted model; drift.json is added to it.")
    ],
    recipe: RecipeName,
    data: DataFolder = Path(),
) -> None:
    """Give a model the reference that drift is measured against: the recipe's validation texts.

    `fit` and `ngrams` do this too.
    """
    from stream_app.model.artifact import load_artifact, write_card
    from training.data.corpus import load_corpus
    from training.fitting.drift_reference import write_reference
    from training.fitting.seal import ENGINE
    from training.judging.evaluate import score
    from training.recipe import load_recipe

    artifact = load_artifact(model)
    validation = load_corpus(load_recipe(recipe), data).validation
    write_reference(artifact, validation, score(artifact, validation, ENGINE).logits)
    write_card(model, artifact.card)


def drift_wait(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="/metrics of a worker, or /federate of Prometheus.")
    ],
    route: Annotated[str, typer.Option(metavar="NAME", help="The route to watch.")],
    threshold: Annotated[float, typer.Option(min=0, help="How far away is drift.")] = THRESHOLD,
) -> None:
    """Wait until a route has drifted, and say why: then whatever comes after && is run.

    A score has to be above the threshold in two windows in a row.
    """
    from training.refreshing.drift_watch import wait_for_drift

    typer.echo(wait_for_drift(url, route, threshold))
