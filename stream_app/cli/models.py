"""`winnow models list | promote | rollback | compare`: which version of a model serves."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from stream_app.cli.options import AsJson, ConfigFile, RouteName, chosen_routes, print_row
from stream_app.configuration import load_settings
from stream_app.core.command_line import config_option
from stream_app.core.errors import ConfigError
from stream_app.core.headers import CHAMPION_LABEL, CHAMPION_MODEL
from stream_app.core.label_record import LabelRecord
from stream_app.core.settings import KafkaClientSettings, RouteSettings, load_registry
from stream_app.kafka.reading import read_topic
from stream_app.model.confined.registry import ConfinedRegistry
from stream_app.model.registry import CHAMPION, RegisteredVersion, Registry

Pair = tuple[str, str]  # of the champion and the challenger: their models, or their labels

models = typer.Typer(
    no_args_is_help=True, help="Versions of registered models: list, compare, promote, roll back."
)

RegistryConfig = Annotated[Path | None, config_option("A configuration, for its [registry].")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The registered model.")]


@models.command("list")
def list_versions(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Only this model; default: all.")
    ] = None,
    config: RegistryConfig = None,
    as_json: AsJson = False,
) -> None:
    """List registered versions, newest first: model, version, aliases, when, digest."""
    with _registry(config) as registry:
        for model in [name] if name else registry.names():
            for version in registry.versions(model):
                print_row(as_json, _row(version), _line(version))


@models.command("promote")
def promote(
    name: Name,
    version: Annotated[
        str | None, typer.Option(metavar="N", help="This version; default: the challenger.")
    ] = None,
    config: RegistryConfig = None,
) -> None:
    """Make a version the champion: workers load it at their next poll, without a restart.

    The current champion becomes `previous`; `winnow models rollback` restores it.
    """
    with _registry(config) as registry:
        typer.echo(_serves(registry.promote(name, version)))


@models.command("rollback")
def rollback(name: Name, config: RegistryConfig = None) -> None:
    """Make the previous champion the champion again, and the current one `previous`."""
    with _registry(config) as registry:
        typer.echo(_serves(registry.rollback(name)))


@models.command("compare")
def compare(config: ConfigFile, route: RouteName = None, as_json: AsJson = False) -> None:
    """Compare challenger and champion by the records in the shadow topics.

    For each pair of models: how often they agree, and their labels when they differ.
    """
    settings = load_settings(config)
    shadowed = [each for each in chosen_routes(settings, route) if each.shadow_share]
    if not shadowed:
        raise ConfigError(
            "no route has a shadow: set challenger and shadow_share of the route, and let it run"
        )
    for each in shadowed:
        pairs = _compared(settings.kafka, each)
        for pair, labels in pairs.items():
            compared = _agreement(each.name, pair, labels)
            print_row(as_json, compared, _told(compared))
        if not pairs:
            line = f"{each.name}: nothing in {each.shadow_topic} yet"
            print_row(as_json, {"route": each.name, "records": 0}, line)


def _registry(config: Path | None) -> AbstractContextManager[Registry]:
    return closing(ConfinedRegistry(load_registry(config).uri))


def _row(version: RegisteredVersion) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version,
        "aliases": version.aliases,
        "created": version.created.isoformat(),
        "digest": version.digest,
    }


def _line(version: RegisteredVersion) -> str:
    return (
        f"{version.name:<16} {version.version:>4}  {', '.join(version.aliases) or '-':<22} "
        f"{version.created:%Y-%m-%dT%H:%M:%SZ}  {version.digest[:12] or 'no digest'}"
    )


def _serves(version: RegisteredVersion) -> str:
    return (
        f"{version.name}: {CHAMPION} is version {version.version} now, digest {version.digest[:12]}"
    )


def _compared(kafka: KafkaClientSettings, route: RouteSettings) -> dict[Pair, Counter[Pair]]:
    """The labels of each pair of models that labelled the same records. Raises BrokerError."""
    pairs: dict[Pair, Counter[Pair]] = {}
    for record in read_topic(kafka, route.shadow_topic):
        champion, label = record.header(CHAMPION_MODEL), record.header(CHAMPION_LABEL)
        if record.value is None or champion is None or label is None:
            continue
        try:
            told = LabelRecord.model_validate_json(record.value)
        except ValidationError:
            continue  # not written by Winnow
        challenger = f"{told.model.name}/{told.model.version}"
        pairs.setdefault((champion, challenger), Counter())[label, told.label] += 1
    return pairs


def _agreement(route: str, models: Pair, labels: Counter[Pair]) -> dict[str, Any]:
    return {
        "route": route,
        "champion": models[0],
        "challenger": models[1],
        "records": labels.total(),
        "agreed": sum(count for (one, other), count in labels.items() if one == other),
        "differed": [
            {"champion": one, "challenger": other, "records": count}
            for (one, other), count in labels.most_common()
            if one != other
        ],
    }


def _told(compared: dict[str, Any]) -> str:
    champion, challenger = compared["champion"], compared["challenger"]
    agreed, records = compared["agreed"], compared["records"]
    return "\n".join(
        [
            f"{compared['route']}: {challenger} agrees with {champion} on {agreed} of {records} "
            f"({agreed / records:.1%})",
            *(
                f"  {each['records']:>8}  {champion} says {each['champion']}, {challenger} says "
                f"{each['challenger']}"
                for each in compared["differed"]
            ),
        ]
    )
