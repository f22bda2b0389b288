"""The command line `winnow-train`."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

from stream_app.core.command_line import new_app, run_app, version_option
from training.cli.add import add
from training.cli.evaluate import evaluate
from training.cli.feedback import feedback
from training.cli.fit import fit
from training.cli.lab import lab
from training.cli.refresh import refresh
from training.cli.register import register

app = new_app()


@app.callback()
def _winnow_train(
    version: Annotated[bool, version_option("winnow-train")] = False,
) -> None:
    """Makes and measures the models that Winnow serves. Begin with: winnow-train fit --help"""
    logging.basicConfig(level="INFO", stream=sys.stderr, format="%(asctime)s %(message)s")
    for library in ("httpx", "datasets", "alembic", "kafka"):  # which log every request
        logging.getLogger(library).setLevel("WARNING")


app.command()(fit)
app.command()(add)
app.command()(evaluate)
app.command()(refresh)
app.command()(register)
app.add_typer(feedback, name="feedback")
app.add_typer(lab, name="lab")


def main() -> None:
    """The entry point; see `run_app` for exit codes."""
    run_app(app, "winnow-train")


if __name__ == "__main__":
    main()
