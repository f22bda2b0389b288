"""`winnow-train refresh`: a new model for a route, from people's corrections."""

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
        Path, typer.Option(help="Folder of feedback, base set and runs; each route needs its own.")
    ],
    data: DataFolder = Path(),
    head_only: Annotated[
        bool,
        typer.Option("--head-only", help="Refit the n-gram head and calibration, not the encoder."),
    ] = False,
    promote: Annotated[bool, typer.Option(help="Promote a model that passes every gate.")] = True,
    every: Annotated[
        str | None, typer.Option(metavar="24h", help="Repeat at this interval.")
    ] = None,
    cron: Annotated[
        str | None, typer.Option(metavar="'0 3 * * *'", help="Repeat at these times.")
    ] = None,
    on_drift: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Wait until the route has drifted: a worker's /metrics, or /federate of "
            "Prometheus.",
        ),
    ] = None,
    report: Report = None,
) -> None:
    """Fit a new model for a route from people's corrections, and promote it if it is better.

    Pulls feedback, merges it with texts of the recipe, fits from the champion, calibrates,
    evaluates, checks every gate, registers a challenger and promotes it, or reports why not. After
    a kill the same command resumes. With --on-drift, --every and --cron set when it starts to wait
    for drift.
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
