"""`winnow correct`: a person says what would have been the right label, or labels."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from stream_app.cli.options import ConfigFile
from stream_app.configuration import load_settings
from stream_app.core.errors import ConfigError, NoCorrection
from stream_app.core.settings import RouteSettings, Settings
from stream_app.filter.corrections import feedback
from stream_app.kafka.sending import sending
from stream_app.kafka.topics import require_topics
from stream_app.model.artifact import ModelCard
from stream_app.model.references import resolve


def correct(
    config: ConfigFile,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="The right one; of several labels a text, one each."),
    ] = None,
    none: Annotated[
        bool, typer.Option("--none", help="No label is right, of a model that gives several.")
    ] = False,
    id_: Annotated[
        str,
        typer.Option("--id", metavar="ID", help="Of the label record: X-Winnow-Id of a mail."),
    ] = "",
    who: Annotated[
        str | None,
        typer.Option(help="The source that it is recorded with. Default: your user name."),
    ] = None,
    route: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Default: the id's, or the mail server's."),
    ] = None,
) -> None:
    """Say what would have been the right label, for the next refresh to learn from.

    Of a record by its id, or of the message on standard input, whose words are sent. An id that is
    in the message is not believed: anybody can write one.
    """
    settings = load_settings(config)
    chosen = _route(settings, route, id_)
    right = label or []
    _check(right, none, chosen, resolve(chosen.model, settings.registry).card)
    about = id_ or sys.stdin.buffer.read(chosen.max_record_bytes + 1)
    told = feedback(chosen, right, who or getpass.getuser(), about)
    topic = settings.feedback.topic
    require_topics(settings.kafka, [topic])
    with sending(settings.kafka, topic) as corrections:
        corrections.send("the message", told.encoded, told.key)
        corrections.finish()
    if corrections.refused:
        raise NoCorrection("too_large", f"the message is too large for {topic}")
    said = ", ".join(right) or "none of its labels"
    typer.echo(f"{topic}: {chosen.name} is told that it is {said}", err=True)


def _check(right: Sequence[str], none: bool, route: RouteSettings, card: ModelCard) -> None:
    """Raises ConfigError for labels that the model could not have given."""
    if unknown := [label for label in right if label not in card.labels]:
        raise ConfigError(f"--label {unknown[0]}: route {route.name} has {', '.join(card.labels)}")
    if bool(right) == none:
        raise ConfigError("give --label NAME, one for each label that is right, or --none")
    if len(right) != 1 and card.problem == "single_label":
        raise ConfigError(f"the model of route {route.name} gives each text one label: give one")
    if len(set(right)) < len(right):
        raise ConfigError("--label names one label twice")


def _route(settings: Settings, name: str | None, id_: str) -> RouteSettings:
    if name:
        return settings.route(name)
    topic = id_.split("/")[0]
    named = [route for route in settings.routes if route.input_topic == topic]
    return named[0] if named else settings.route_of("rfc822", settings.filter.route, "filter.route")
