"""Options that commands share, and how they tell what they found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream_app.model.artifact import ModelCard

if TYPE_CHECKING:  # --help imports nothing heavy
    from training.judging.evaluate import Scored

RecipeName = Annotated[
    str,
    typer.Option(metavar="NAME|FILE", help="A shipped one, such as spam, or a file like theirs."),
]
DataFolder = Annotated[
    Path, typer.Option(help="The folder that the file names in a recipe are relative to.")
]
Encoder = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|hf://ORG/NAME",
        help="The ALBERT to start from. Default: the recipe's, where it can be fetched.",
    ),
]
Steps = Annotated[
    int | None, typer.Option(min=1, help="End after so many steps, to try things out.")
]
ModelReference = Annotated[
    str, typer.Option(metavar="REF", help="builtin:NAME, a path, or hf://ORG/NAME.")
]
EngineName = Annotated[str, typer.Option(help="The backend to measure.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")]
Precision = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16 or int8.")]
Report = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Where the figures go. Default: stdout.")
]
Html = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Also write a page of tables and plots.")
]


def tell_figures(
    about: dict[str, Any],
    scored: Mapping[str, Scored],
    card: ModelCard,
    report: Path | None,
    html: Path | None,
) -> dict[str, Any]:
    """Tell what is known of scored tests, by name; the page also shows their curves."""
    from training.judging.evaluate import measure, plots

    told = {**about, "test": {name: measure(part, card) for name, part in scored.items()}}
    drawn = {name: plots(part, card) for name, part in scored.items()}
    if html is not None:
        from training.judging.page import write_report

        write_report(told, drawn, html)
    tell({**told, "plots": drawn} if report else told, report)
    return told


def tell(figures: Any, report: Path | None) -> None:
    text = json.dumps(figures, indent=2)
    if report is None:
        typer.echo(text)
    else:
        report.write_text(text + "\n")
