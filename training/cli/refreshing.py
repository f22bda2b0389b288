"""Commands that keep a model fresh."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_app.core.route_settings import RouteSettings
from stream_app.core.settings import CONFIG_VARIABLE, Settings
from training.cli.options import DataFolder, ModelReference, RecipeName, Report, tell

ConfigFile = Annotated[
    Path,
    typer.Option(
        "--config", "-c", metavar="FILE", envvar=CONFIG_VARIABLE, help="The service's (TOML)."
    ),
]
RouteName = Annotated[str, typer.Option("--route", metavar="NAME", help="The route it is for.")]

feedback = typer.Typer(no_args_is_help=True, help="What people say the right labels are.")


@feedback.callback()
def _group() -> None:
    """What people say the right labels are."""


@feedback.command("pull")
def pull(
    config: ConfigFile,
    route: RouteName,
    out: Annotated[Path, typer.Option(help="The folder to add to; one for each route.")],
    report: Report = None,
) -> None:
    """Read what was said since the last pull into a Parquet file with a manifest.

    The last correction of a message counts. What cannot be used is counted by its reason.
    """
    from stream_app.model.references import resolve
    from training.refreshing.feedback_pull import FeedbackSource
    from training.refreshing.feedback_pull import pull as run

    settings, chosen = _settings(config, route)
    labels = resolve(chosen.model, settings.registry).card.labels
    pulled = run(FeedbackSource(settings.kafka, settings.feedback.topic, chosen, labels), out)
    tell(pulled.model_dump(mode="json") if pulled else {"counts": {"read": 0}}, report)


def register(
    model: ModelReference,
    name: Annotated[str, typer.Option(help="Of the registered model: NAME in models:/NAME@…")],
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", metavar="FILE", envvar=CONFIG_VARIABLE, help="For [registry] uri."
        ),
    ] = None,
    alias: Annotated[
        str | None, typer.Option(help="Let it point here: champion serves, challenger is tried.")
    ] = None,
    report: Report = None,
) -> None:
    """Register a model, so that a route can serve it as models:/NAME@champion.

    What its card tells is logged as an MLflow run: figures, parameters, data. `refresh` does this
    too, for what it makes.
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
            metavar="URL", help="Begin once it has drifted: see drift-wait, also for URL."
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
    settings, chosen = _settings(config, route)
    job = RefreshJob(settings, chosen, load_recipe(recipe), data, work, head_only, promote)

    def once() -> None:
        if on_drift:
            typer.echo(wait_for_drift(on_drift, route, THRESHOLD), err=True)
        tell(run(job), report)

    if schedule is None:
        once()
    else:
        keep(once, schedule)


def _settings(config: Path, name: str) -> tuple[Settings, RouteSettings]:
    """The configuration and the route called `name`. Raises ConfigError without one."""
    from stream_app.core.settings import load_settings

    settings = load_settings(config)
    return settings, settings.route(name)
