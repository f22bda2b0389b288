"""`winnow topics create`: the topics of every route, and of feedback."""

from __future__ import annotations

import typer
from kafka import KafkaAdminClient
from kafka.errors import TopicAlreadyExistsError, for_code

from stream_app.cli.options import ConfigFile
from stream_app.configuration import load_settings
from stream_app.core.errors import BrokerError
from stream_app.core.settings import Settings
from stream_app.kafka.connect import connected

topics = typer.Typer(no_args_is_help=True, help="The topics that the routes need.")


@topics.callback()
def _group() -> None:
    """The topics that the routes need."""


@topics.command("create")
def create(config: ConfigFile) -> None:
    """Create the topics of every route (input, output, dead letters; review and shadow where they
    are asked for) and the one for feedback; existing ones stay.

    [topics] of the configuration says with how many partitions and replicas.
    """
    settings = load_settings(config)
    for topic, created in create_topics(settings).items():
        typer.echo(f"{'created' if created else 'exists '}  {topic}")


def create_topics(settings: Settings) -> dict[str, bool]:
    """Create what is missing; topic -> whether it is new. Raises BrokerError for any refusal."""
    of_routes = [topic for route in settings.routes for topic in route.topics]
    size = {
        "num_partitions": settings.topics.partitions,
        "replication_factor": settings.topics.replication_factor,
    }
    wanted = dict.fromkeys([*of_routes, settings.feedback.topic], size)
    with connected(KafkaAdminClient, settings.kafka) as admin:
        answer = admin.create_topics(wanted, raise_errors=False)["topics"]
        errors = {topic["name"]: topic for topic in answer if topic["error_code"]}
        for name, topic in errors.items():
            if topic["error_code"] != TopicAlreadyExistsError.errno:
                reason = topic["error_message"] or for_code(topic["error_code"]).__name__
                raise BrokerError(f"topic {name!r} cannot be created: {reason}")
        admin.wait_for_topics(list(wanted))
    return {topic: topic not in errors for topic in wanted}
