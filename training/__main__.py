"""The command line `winnow-train`."""

from __future__ import annotations

import json
import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from stream_app.core.command_line import new_app, run_app, version_of

app = new_app()

RecipeName = Annotated[
    str, typer.Option(metavar="NAME|FILE", help="imdb, news, reviews, spam, or a file like theirs.")
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


class VocabularyKind(StrEnum):
    """What `vocab` can build."""

    SENTENCEPIECE = "sentencepiece"
    WORDPIECE = "wordpiece"


class HeldOut(StrEnum):
    """What `cross-validate` keeps from a model to test it on."""

    FOLD = "fold"
    SOURCE = "source"


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
    for library in ("httpx", "datasets", "alembic"):  # which tell every request
        logging.getLogger(library).setLevel("WARNING")


@app.command()
def fit(
    recipe: RecipeName,
    out: Annotated[Path, typer.Option(help="The folder to make: a model `winnow` can serve.")],
    data: DataFolder = Path(),
    encoder: Encoder = None,
    tokenizer: Annotated[
        str,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the tokenizer, relative to --out: ../tokenizer lets models share one.",
        ),
    ] = ".",
    steps: Steps = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            help="Keep checkpoints here. After a kill the same command goes on from them."
        ),
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Log the run for TensorBoard.")
    ] = None,
    mlflow: Annotated[
        bool, typer.Option(help="Log the run to MLflow, to where MLFLOW_TRACKING_URI says.")
    ] = False,
    report: Report = None,
) -> None:
    """Fine-tune an encoder by a recipe; then calibrate, evaluate and seal the model.

    On several GPUs or machines: accelerate launch -m training fit …, or torchrun -m training fit …
    """
    from training.progress import tensorboard_callback
    from training.recipe import load_recipe
    from training.run import FitJob
    from training.run import fit as run

    job = FitJob(
        recipe=load_recipe(recipe),
        data=data,
        encoder=encoder,
        out=out,
        tokenizer=tokenizer,
        steps=steps,
        checkpoints=checkpoints,
        log_to=["mlflow"] if mlflow else [],
        callbacks=[tensorboard_callback(tensorboard)] if tensorboard else [],
    )
    artifact = run(job)
    if artifact is not None:
        _tell(artifact.card.evaluation, report)


@app.command()
def evaluate(
    model: ModelReference,
    data: Annotated[
        Path,
        typer.Option(help="A file of labelled messages; with --recipe, the folder of its files."),
    ],
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Take the test parts of this recipe's files."),
    ] = None,
    engine: EngineName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    report: Report = None,
    html: Html = None,
) -> None:
    """Measure a model on labelled messages, on the engine that serves: figures by file, as JSON."""
    from stream_app.model.references import resolve
    from training.data import read_file, read_test
    from training.evaluate import score
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
    about = {
        "model": model,
        "digest": artifact.digest,
        "engine": engine,
        "precision": precision,
    }
    _tell_figures(about, scored, artifact.card, report, html)


@app.command()
def cross_validate(
    recipe: RecipeName,
    data: DataFolder = Path(),
    encoder: Encoder = None,
    by: Annotated[
        HeldOut,
        typer.Option(help="fold: every message, out of fold. source: each corpus by the others."),
    ] = HeldOut.FOLD,
    folds: Annotated[int, typer.Option(min=2, help="Models to fit, with --by fold.")] = 5,
    steps: Steps = None,
    report: Report = None,
    html: Html = None,
) -> None:
    """Measure a recipe on messages, or on whole corpora, that its model did not learn from.

    Near-duplicates are never on both sides. It fits a model for every fold or source.
    """
    from training.cross_validate import cross_corpus, out_of_fold
    from training.recipe import load_recipe
    from training.run import ENGINE, FitJob, empty_card

    job = FitJob(load_recipe(recipe), data, encoder, out=Path(), steps=steps)
    scored = out_of_fold(job, folds) if by is HeldOut.FOLD else cross_corpus(job)
    about = {"model": f"recipe {recipe}, by {by}", "engine": ENGINE, "precision": "auto"}
    _tell_figures(about, scored, empty_card(job.recipe), report, html)


@app.command()
def split(recipe: RecipeName, data: DataFolder = Path(), report: Report = None) -> None:
    """Tell a recipe's test messages, which no model made by it has seen: file, name, label."""
    from training.data import held_out_messages
    from training.recipe import load_recipe

    _tell(held_out_messages(load_recipe(recipe), data), report)


@app.command()
def search(
    recipe: RecipeName,
    out: Annotated[Path, typer.Option(help="The recipe to write, with what was found.")],
    data: DataFolder = Path(),
    encoder: Encoder = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Runs of the recipe, those ended early too.")
    ] = 20,
    steps: Steps = None,
    study: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the trials here: the same command goes on."),
    ] = None,
    report: Report = None,
) -> None:
    """Look for better hyper-parameters with Optuna; what falls behind is ended early."""
    from training.recipe import load_recipe
    from training.run import FitJob
    from training.search import search as run

    job = FitJob(load_recipe(recipe), data, encoder, out, steps=steps)
    _tell(run(job, trials, study), report)


@app.command()
def average(
    models: Annotated[list[str], typer.Argument(metavar="REF…", help="Two models or more.")],
    recipe: RecipeName,
    out: Annotated[Path, typer.Option(help="The folder to make: a model `winnow` can serve.")],
    data: DataFolder = Path(),
    report: Report = None,
) -> None:
    """Average the weights of models fitted from one encoder into one, and measure it.

    It costs no more to serve than each of them.
    """
    from stream_app.model.references import resolve
    from training.average import average as run
    from training.recipe import load_recipe

    artifact = run([resolve(model) for model in models], load_recipe(recipe), data, out)
    _tell({**artifact.card.evaluation, **artifact.card.training}, report)


@app.command()
def vocab(
    recipe: Annotated[
        list[str],
        typer.Option(metavar="NAME|FILE", help="Learn from its training texts. Repeatable."),
    ],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    data: DataFolder = Path(),
    kind: Annotated[
        VocabularyKind, typer.Option(help="sentencepiece, as ALBERT; or wordpiece, as BERT.")
    ] = VocabularyKind.SENTENCEPIECE,
    size: Annotated[int, typer.Option(min=100, help="Pieces at most.")] = 30_000,
    lowercase: Annotated[bool, typer.Option(help="Tell no capitals from small letters.")] = True,
    encoder: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Also write this ALBERT for the new vocabulary."),
    ] = None,
    report: Report = None,
) -> None:
    """Build a vocabulary for a language or domain from texts of it."""
    from training import vocab as vocabulary
    from training.data import load_corpus
    from training.recipe import load_recipe

    corpora = [load_corpus(load_recipe(name), data) for name in recipe]
    texts = [example.text for corpus in corpora for example in corpus.train]
    tokenizer = vocabulary.build(texts, kind.value, size, lowercase)
    vocabulary.save(tokenizer, kind.value, out)
    if encoder:
        vocabulary.transplant(encoder, tokenizer, out)
    _tell(vocabulary.figures(tokenizer, texts, encoder), report)


@app.command()
def advise(
    texts_per_second: Annotated[
        float | None, typer.Option(min=0, help="What the model must reach.")
    ] = None,
    latency_ms: Annotated[
        float | None, typer.Option(min=0, help="What 95 of 100 texts alone must stay under.")
    ] = None,
    tokens: Annotated[int, typer.Option(help="Tokens of a text.")] = 128,
    engine: EngineName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    report: Report = None,
) -> None:
    """Advise a size of ALBERT: the largest that reaches a target, measured on this machine."""
    from training.advise import Target
    from training.advise import advise as run

    target = Target(tokens, texts_per_second, latency_ms)
    _tell(run(target, engine, device, precision), report)


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


@app.command()
def ngrams(
    model: ModelReference,
    recipe: RecipeName,
    out: Annotated[Path, typer.Option(help="The folder to make: a model `winnow` can serve.")],
    data: DataFolder = Path(),
    tokenizer: Annotated[
        str, typer.Option(metavar="FOLDER", help="Folder of the tokenizer, relative to --out.")
    ] = ".",
    report: Report = None,
) -> None:
    """Give a fitted model the recipe's n-gram head; then calibrate, evaluate and seal it.

    `fit` does this too, after it has fitted the encoder.
    """
    from stream_app.model.references import resolve
    from training.recipe import load_recipe
    from training.run import FitJob, fit_ngrams

    job = FitJob(load_recipe(recipe), data, None, out, tokenizer)
    _tell(fit_ngrams(job, resolve(model)).card.evaluation, report)


def _tell_figures(
    about: dict[str, Any], scored: Any, card: Any, report: Path | None, html: Path | None
) -> None:
    """Tell what is known of scored tests, by name; the page also shows their curves."""
    from training.evaluate import measure, plots

    told = {**about, "test": {name: measure(part, card) for name, part in scored.items()}}
    drawn = {name: plots(part, card) for name, part in scored.items()}
    if html is not None:
        from training.report import write_report

        write_report(told, drawn, html)
    _tell({**told, "plots": drawn} if report else told, report)


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
