"""The command line `winnow-train`."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from stream_app.core.command_line import new_app, run_app, version_of

app = new_app()

RecipeName = Annotated[
    str, typer.Option(metavar="NAME|FILE", help="news, reviews, spam, or a file like theirs.")
]
DataFolder = Annotated[
    Path, typer.Option(help="The folder that the file names in a recipe are relative to.")
]
Report = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Where the figures go. Default: stdout.")
]


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


@app.command()
def fit(
    recipe: RecipeName,
    data: DataFolder,
    encoder: Annotated[Path, typer.Option(help="The ALBERT folder to start from.")],
    out: Annotated[Path, typer.Option(help="The folder to make: a model `winnow` can serve.")],
    tokenizer: Annotated[
        str,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the tokenizer, relative to --out: ../tokenizer lets models share one.",
        ),
    ] = ".",
    steps: Annotated[
        int | None, typer.Option(min=1, help="End after so many steps, to try things out.")
    ] = None,
    report: Report = None,
) -> None:
    """Fine-tune an encoder by a recipe; then calibrate, evaluate and seal the model."""
    from training.recipe import load_recipe
    from training.run import FitJob
    from training.run import fit as run

    job = FitJob(load_recipe(recipe), data, encoder, out, tokenizer, steps)
    _tell(run(job).card.evaluation, report)


@app.command()
def evaluate(
    model: Annotated[
        str, typer.Option(metavar="REF", help="builtin:NAME, a path, or hf://ORG/NAME.")
    ],
    data: Annotated[
        Path,
        typer.Option(help="A .jsonl.gz or .tar.gz of labelled messages; with --recipe, a folder."),
    ],
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Take the test parts of this recipe's files."),
    ] = None,
    engine: Annotated[str, typer.Option(help="The backend to measure.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, float32, bfloat16, float16 or int8.")
    ] = "auto",
    report: Report = None,
) -> None:
    """Measure a model on labelled messages, on the engine that serves: JSON figures by file."""
    from stream_app.model.references import resolve
    from training.data import read_file, read_test
    from training.evaluate import measure, score
    from training.recipe import load_recipe

    artifact = resolve(model)
    how = artifact.card.preparation
    if recipe is None:
        tests = {data.name: read_file(data, how)}
    else:
        tests = read_test(load_recipe(recipe), data, how)
    scored = {
        name: score(artifact, part, engine, device, precision) for name, part in tests.items()
    }
    figures = {name: measure(part, artifact.card) for name, part in scored.items()}
    _tell(
        {
            "model": model,
            "digest": artifact.digest,
            "engine": engine,
            "precision": precision,
            "test": figures,
        },
        report,
    )


@app.command()
def split(recipe: RecipeName, data: DataFolder, report: Report = None) -> None:
    """Tell a recipe's test messages, which no model made by it has seen: file, name, label."""
    from training.data import held_out_messages
    from training.recipe import load_recipe

    _tell(held_out_messages(load_recipe(recipe), data), report)


@app.command()
def distil(
    teacher: Annotated[Path, typer.Option(help="The ALBERT encoder folder to learn from.")],
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="The folder to make: an encoder for `fit`.")],
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE", help="Learn from its training texts. Repeatable; default: all."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Batches of 32 snippets to learn.")] = 4_600,
    report: Report = None,
) -> None:
    """Distil a true ALBERT encoder (one shared layer, factorised embeddings) from a larger one."""
    from training.data import load_corpus
    from training.distil import Distillation
    from training.distil import distil as run
    from training.recipe import SHIPPED, load_recipe

    corpora = [load_corpus(load_recipe(name), data) for name in recipe or SHIPPED]
    texts = [example.text for corpus in corpora for example in corpus.train]
    figures = run(teacher, texts, out, Distillation(steps=steps))
    figures["data"] = [source for corpus in corpora for source in corpus.lineage]
    _tell(figures, out / "distillation.json")
    _tell(figures, report)


def _tell(figures: Any, report: Path | None) -> None:
    text = json.dumps(figures, indent=2)
    if report is None:
        typer.echo(text)
    else:
        report.write_text(text + "\n")


def main() -> None:
    """The entry point; see `run_app` for exit codes."""
    run_app(app, "winnow-train")


if __name__ == "__main__":
    main()
