"""The command line `winnow-train`."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from stream_app.core.command_line import new_app, run_app, version_of
from training.cli.drifting import drift_reference, drift_wait
from training.cli.encoders import distil, vocab
from training.cli.fitting import average, exits, fit, ngrams, search
from training.cli.measuring import advise, cross_validate, evaluate, split
from training.cli.refreshing import feedback, refresh, register

app = new_app()


@app.callback()
def _winnow_train(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=version_of("winnow-train"),
            is_eager=True,
            help="Say it, and end.",
        ),
    ] = False,
) -> None:
    """Makes and measures the models that Winnow serves. Begin with: winnow-train fit --help"""
    logging.basicConfig(level="INFO", stream=sys.stderr, format="%(asctime)s %(message)s")
    for library in ("httpx", "datasets", "alembic", "kafka"):  # which tell every request
        logging.getLogger(library).setLevel("WARNING")


app.command()(fit)
app.command()(evaluate)
app.command()(cross_validate)
app.command()(split)
app.command()(vocab)
app.command()(distil)
app.command()(ngrams)
app.command()(exits)
app.command()(drift_reference)
app.command()(drift_wait)
app.command()(search)
app.command()(average)
app.command()(advise)
app.command()(refresh)
app.command()(register)
app.add_typer(feedback, name="feedback")


def main() -> None:
    """The entry point; see `run_app` for exit codes."""
    run_app(app, "winnow-train")


if __name__ == "__main__":
    main()
