"""`winnow-train register`: make a model a version in the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_app.core.command_line import config_option
from training.cli.options import ModelReference, Report, tell


def register(
    model: ModelReference,
    name: Annotated[str, typer.Option(help="The registered model: NAME in models:/NAME@…")],
    config: Annotated[Path | None, config_option("For [registry] uri.")] = None,
    alias: Annotated[
        str | None,
        typer.Option(help="Point this alias at it: champion serves, challenger is tried."),
    ] = None,
    report: Report = None,
) -> None:
    """Register a model, so that a route can serve it as models:/NAME@champion.

    Figures, parameters and data of its card are logged as an MLflow run. `refresh` registers its
    models itself.
    """
    from stream_app.core.settings import load_registry
    from stream_app.model.references import resolve
    from training.refreshing.register import facts_of
    from training.refreshing.register import register as run

    registry = load_registry(config)
    artifact = resolve(model, registry)
    version = run(artifact, registry.uri, alias, facts_of(name, artifact.card))
    tell(
        {"name": name, "version": version.version, "digest": version.digest, "alias": alias}, report
    )
