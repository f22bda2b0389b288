"""Options that commands share, and how they report figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream_app.core.command_line import config_option
from stream_app.core.errors import ConfigError
from stream_app.core.settings import RouteSettings, Settings
from stream_app.model.artifact import CARD, ModelCard

if TYPE_CHECKING:  # --help imports nothing heavy
    from training.judging.evaluate import Scored


def _new(out: Path) -> Path:
    """A folder for a model, which has none yet."""
    if out.joinpath(CARD).exists():
        raise ConfigError(f"--out {out} has a model already: name another folder, or delete it")
    return out


RecipeName = Annotated[
    str,
    typer.Option(metavar="NAME|FILE", help="A shipped recipe, such as spam, or a file."),
]
DataFolder = Annotated[
    Path, typer.Option(help="The folder that the file names in a recipe are relative to.")
]
Encoder = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|hf://ORG/NAME",
        help="The ALBERT to start from. Default: the recipe's, which is fetched.",
    ),
]
Steps = Annotated[int | None, typer.Option(min=1, help="Stop after this many steps, for trials.")]
Checkpoints = Annotated[
    Path | None,
    typer.Option(help="Keep checkpoints here. After a kill the same command resumes from them."),
]
ModelReference = Annotated[
    str, typer.Option(metavar="REF", help="builtin:NAME, a path, or hf://ORG/NAME.")
]
Out = Annotated[
    Path,
    typer.Option(
        callback=_new, help="The folder to write, of a model `winnow` can serve: a new one."
    ),
]
ConfigFile = Annotated[Path, config_option("The service's configuration (TOML).")]
RouteName = Annotated[str, typer.Option("--route", metavar="NAME", help="The route.")]
EngineName = Annotated[str, typer.Option(help="The backend to measure.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")]
Precision = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16 or int8.")]
Report = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the figures here. Default: stdout.")
]
Html = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Also write a page of tables and plots.")
]


def load_route(config: Path, name: str) -> tuple[Settings, RouteSettings]:
    """The configuration and the route called `name`. Raises ConfigError without one."""
    from stream_app.configuration import load_settings

    settings = load_settings(config)
    return settings, settings.route(name)


def tell_scored(
    about: Mapping[str, str],
    scored: Mapping[str, Scored],
    card: ModelCard,
    report: Path | None,
    html: Path | None,
) -> dict[str, Any]:
    """Report the figures of scored tests, by name, and return them; stdout gets no plots."""
    from training.judging.figures import reported

    told = reported(about, scored, card)
    if html is not None:
        from training.judging.page import write_page

        write_page(told, html)
    tell(told if report else {k: v for k, v in told.items() if k != "plots"}, report)
    return told


def tell(figures: Any, report: Path | None) -> None:
    """Write figures as JSON to the file `report`, or to stdout."""
    text = json.dumps(figures, indent=2)
    if report is None:
        typer.echo(text)
    else:
        report.write_text(text + "\n")
