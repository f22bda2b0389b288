"""`winnow-train refresh`: a route's model anew, with what people corrected."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.cli.options import (
    ConfigFile,
    DataFolder,
    RecipeName,
    Report,
    RouteName,
    load_route,
    tell,
)


def refresh(
    config: ConfigFile,
    route: RouteName,
    recipe: RecipeName,
    work: Annotated[
        Path, typer.Option(help="Feedback, the base set and each run are kept here; a route's own.")
    ],
    data: DataFolder = Path(),
    head_only: Annotated[
        bool,
        typer.Option("--head-only", help="Refit the n-gram head and calibration, not the encoder."),
    ] = False,
    promote: Annotated[
        bool, typer.Option(help="Let a model that passes every gate serve at once.")
    ] = True,
    every: Annotated[
        str | None, typer.Option(metavar="24h", help="Again and again, so long after each begin.")
    ] = None,
    cron: Annotated[
        str | None, typer.Option(metavar="'0 3 * * *'", help="Again and again, at these times.")
    ] = None,
    on_drift: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Begin once the route has drifted: a worker's /metrics, or /federate of "
            "Prometheus.",
        ),
    ] = None,
    report: Report = None,
) -> None:
    """Make a route's model anew with what people corrected, and promote it if it is better.

    Pulls feedback, merges it with texts of the recipe, fits from the champion, calibrates,
    evaluates, asks every gate, registers a challenger and promotes it, or tells why not. After a
    kill the same command goes on. With --on-drift the times of --every or --cron are when it begins
    to wait for drift.
    """
    from training.recipe import load_recipe
    from training.refreshing.drift_watch import THRESHOLD, wait_for_drift
    from training.refreshing.refresh import refresh as run
    from training.refreshing.schedule import keep, parse
    from training.refreshing.steps import RefreshJob

    schedule = parse(every, cron)
    settings, chosen = load_route(config, route)
    job = RefreshJob(settings, chosen, load_recipe(recipe), data, work, head_only, promote)

    def once() -> None:
        if on_drift:
            typer.echo(wait_for_drift(on_drift, route, THRESHOLD), err=True)
        tell(run(job), report)

    if schedule is None:
        once()
    else:
        keep(once, schedule)
