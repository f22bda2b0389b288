"""`winnow-train feedback`: people's corrections of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.cli.options import ConfigFile, Report, RouteName, load_route, tell

feedback = typer.Typer(no_args_is_help=True, help="People's corrections of labels.")


@feedback.callback()
def _group() -> None:
    """People's corrections of labels."""


@feedback.command("pull")
def pull(
    config: ConfigFile,
    route: RouteName,
    out: Annotated[Path, typer.Option(help="The folder to add to; each route needs its own.")],
    report: Report = None,
) -> None:
    """Read the feedback since the last pull into a Parquet file with a manifest.

    The last correction of a message counts. Unusable ones are counted by reason.
    """
    from stream_app.model.references import resolve
    from training.refreshing.feedback_pull import FeedbackSource
    from training.refreshing.feedback_pull import pull as run

    settings, chosen = load_route(config, route)
    card, topic = resolve(chosen.model, settings.registry).card, settings.feedback.topic
    source = FeedbackSource(settings.kafka, topic, chosen, card.labels, card.problem)
    pulled = run(source, out)
    tell(pulled.model_dump(mode="json") if pulled else {"counts": {"read": 0}}, report)
