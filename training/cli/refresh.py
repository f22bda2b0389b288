"""`winnow-train refresh`: a new model for a route, from people's corrections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.cli.options import (
    ConfigFile,
    Report,
    RouteName,
    load_route,
    tell,
)


def refresh(
    config: ConfigFile,
    route: RouteName,
    work: Annotated[
        Path | None,
        typer.Option(
            help="Folder of feedback, texts and runs; each route needs its own. Default: "
            ".winnow/refresh/ROUTE."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE", help="Settings. Default: those that the model was made with."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="The folder of the recipe's texts, to rehearse those. Default: rehearse what the "
            "model says of recent records."
        ),
    ] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option(metavar="WHO", help="A source that may give any share; repeat for several."),
    ] = None,
    minutes: Annotated[
        float, typer.Option(min=0.1, help="Fit the encoder for so long, at most.")
    ] = 30.0,
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

    Pulls feedback, merges it with texts against forgetting, fits from the champion, calibrates,
    evaluates, checks every gate, registers a challenger and promotes it, or reports why not. After
    a kill the same command resumes. With --on-drift, --every and --cron set when it starts to wait
    for drift.
    """
    from training.recipes import load_recipe
    from training.refreshing.drift_watch import THRESHOLD, wait_for_drift
    from training.refreshing.job import RefreshJob
    from training.refreshing.refresh import refresh as run
    from training.refreshing.schedule import keep, parse

    schedule = parse(every, cron)
    settings, chosen = load_route(config, route)
    job = RefreshJob(
        settings=settings,
        route=chosen,
        work=work or Path(".winnow/refresh") / route,
        recipe=load_recipe(recipe) if recipe else None,
        data=data,
        trusted=tuple(trust or ()),
        head_only=head_only,
        minutes=minutes,
        promote=promote,
    )

    def once() -> None:
        if on_drift:
            typer.echo(wait_for_drift(on_drift, route, THRESHOLD), err=True)
        tell(run(job), report)

    if schedule is None:
        once()
    else:
        keep(once, schedule)
