"""`winnow topics create`: the topics of every route, and of feedback."""

from __future__ import annotations

import typer

from stream_app.cli.options import AsJson, ConfigFile, print_row
from stream_app.configuration import load_settings
from stream_app.kafka.topics import create_topics

topics = typer.Typer(no_args_is_help=True, help="The topics that the routes need.")


@topics.callback()
def _group() -> None:
    """The topics that the routes need."""


@topics.command("create")
def create(config: ConfigFile, as_json: AsJson = False) -> None:
    """Create the topics of every route and the feedback topic; existing topics stay as they are.

    A route has input, output and dead letters; review and shadow if it uses them. [topics] of the
    configuration sets partitions and replicas.
    """
    settings = load_settings(config)
    made = create_topics(settings.kafka, settings.all_topics, settings.topics)
    for topic, created in made.items():
        line = f"{'created' if created else 'exists '}  {topic}"
        print_row(as_json, {"topic": topic, "created": created}, line)
