"""Commands that keep a model fresh."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_app.core.settings import CONFIG_VARIABLE, RouteSettings, Settings
from training.cli.options import Report, tell

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
    from training.feedback import FeedbackSource
    from training.feedback import pull as run

    settings, chosen = _settings(config, route)
    labels = resolve(chosen.model).card.labels
    pulled = run(FeedbackSource(settings.kafka, settings.feedback.topic, chosen, labels), out)
    tell(pulled.model_dump(mode="json") if pulled else {"counts": {"read": 0}}, report)


def _settings(config: Path, name: str) -> tuple[Settings, RouteSettings]:
    """The configuration and the route called `name`. Raises ConfigError without one."""
    from stream_app.core.settings import load_settings

    settings = load_settings(config)
    return settings, settings.route(name)
