"""`winnow-train`: make, split and measure models."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from stream_app.core.errors import WinnowError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

RecipeName = Annotated[str, typer.Option(help="news, reviews, spam, or a .toml file.")]
DataFolder = Annotated[
    Path, typer.Option(help="The folder of labelled data the recipe's files are in.")
]


@app.callback()
def setup() -> None:
    """Make, calibrate and measure the models that Winnow serves."""
    logging.basicConfig(level="INFO", stream=sys.stderr, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel("WARNING")


@app.command()
def fit(
    recipe: RecipeName,
    data: DataFolder,
    encoder: Annotated[Path, typer.Option(help="ALBERT folder to start from.")],
    out: Annotated[Path, typer.Option(help="Where the artifact goes.")],
    tokenizer: Annotated[
        str,
        typer.Option(
            metavar="FOLDER",
            help="Tokenizer folder relative to --out; ../tokenizer to share one among models.",
        ),
    ] = ".",
    steps: Annotated[
        int | None, typer.Option(min=1, help="End after so many steps, to try things out.")
    ] = None,
) -> None:
    """Fine-tune an encoder by a recipe; calibrate, evaluate and seal the artifact."""
    from training.recipe import load_recipe
    from training.run import FitJob
    from training.run import fit as run

    job = FitJob(load_recipe(recipe), data, encoder, out, tokenizer, steps)
    typer.echo(json.dumps(run(job).card.evaluation, indent=2))


def main() -> None:
    """Entry point: errors a person can act on are one line and exit code 1."""
    try:
        app()
    except WinnowError as error:
        typer.echo(f"winnow-train: {error}", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
