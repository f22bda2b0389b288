"""`winnow-train lab`: research commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from stream_app.core.errors import ConfigError
from training.cli.options import (
    Checkpoints,
    DataFolder,
    Device,
    Encoder,
    EngineName,
    Html,
    Out,
    Precision,
    RecipeName,
    Report,
    Steps,
    tell,
    tell_scored,
)

_LOCAL = ("news", "reviews", "spam")  # recipes whose texts are files

lab = typer.Typer(no_args_is_help=True, help="For research: better encoders, recipes and models.")


@lab.command()
def vocab(
    recipe: Annotated[
        list[str],
        typer.Option(metavar="NAME|FILE", help="Learn from its training texts. Repeatable."),
    ],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    data: DataFolder = Path(),
    kind: Annotated[
        Literal["sentencepiece", "wordpiece"],
        typer.Option(help="sentencepiece, as ALBERT; or wordpiece, as BERT."),
    ] = "sentencepiece",
    size: Annotated[int, typer.Option(min=100, help="Maximum number of pieces.")] = 30_000,
    lowercase: Annotated[bool, typer.Option(help="Ignore capitals.")] = True,
    encoder: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Also write this ALBERT for the new vocabulary."),
    ] = None,
    report: Report = None,
) -> None:
    """Build a vocabulary for a language or domain from its texts."""
    from training.data.corpus import load_corpus
    from training.improving import vocab as vocabulary
    from training.recipes import load_recipe

    corpora = [load_corpus(load_recipe(name), data) for name in recipe]
    texts = [example.text for corpus in corpora for example in corpus.train]
    tokenizer = vocabulary.build(texts, kind, size, lowercase)
    vocabulary.save(tokenizer, kind, out)
    if encoder:
        vocabulary.transplant(encoder, tokenizer, out)
    tell(vocabulary.figures(tokenizer, texts, encoder), report)


@lab.command()
def distil(
    teacher: Annotated[Path, typer.Option(help="The ALBERT encoder folder to learn from.")],
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="The folder to write: an encoder for `fit`.")],
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Learn from its training texts. Repeatable; default: news, reviews and spam.",
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Batches of 32 snippets to learn.")] = 4_600,
    layers: Annotated[
        int | None,
        typer.Option(min=1, help="Layers of the student. Default: the teacher's."),
    ] = None,
    student: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="An encoder to train further, instead of one that starts from the teacher.",
        ),
    ] = None,
    report: Report = None,
) -> None:
    """Distil a true ALBERT encoder (one shared layer, factorised embeddings) from a larger one."""
    from training.data.corpus import load_corpus
    from training.improving.distil import Distillation
    from training.improving.distil import distil as run
    from training.recipes import load_recipe

    if student and layers:
        raise ConfigError("a --student has its own number of layers: leave out --layers")
    corpora = [load_corpus(load_recipe(name), data) for name in recipe or _LOCAL]
    texts = [example.text for corpus in corpora for example in corpus.train]
    figures = run(teacher, texts, out, Distillation(steps=steps, layers=layers), student)
    figures["data"] = [source for corpus in corpora for source in corpus.lineage]
    tell(figures, out / "distillation.json")
    tell(figures, report)


@lab.command()
def teach(
    recipe: RecipeName,
    encoder: Annotated[
        Path, typer.Option(help="The folder of any encoder that transformers reads.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write, for `fit --teacher`.")],
    data: DataFolder = Path(),
    steps: Steps = None,
    checkpoints: Checkpoints = None,
    report: Report = None,
) -> None:
    """Fine-tune a teacher of any size and kind: MPNet, BERT, RoBERTa, …"""
    from training.improving.teach import Lesson
    from training.improving.teach import teach as run
    from training.recipes import load_recipe

    lesson = Lesson(load_recipe(recipe), data, encoder, out, steps, checkpoints)
    tell(run(lesson), report)


@lab.command()
def search(
    recipe: RecipeName,
    out: Annotated[Path, typer.Option(help="The recipe to write, with the best parameters.")],
    data: DataFolder = Path(),
    encoder: Encoder = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Runs of the recipe, including those stopped early.")
    ] = 20,
    steps: Steps = None,
    study: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Keep the trials here: the same command resumes from them."
        ),
    ] = None,
    report: Report = None,
) -> None:
    """Search for better hyper-parameters with Optuna; bad trials are stopped early."""
    from training.fitting.build import FitJob
    from training.improving.search import search as run
    from training.recipes import load_recipe

    job = FitJob(load_recipe(recipe), data, encoder, out, steps=steps)
    tell(run(job, trials, study), report)


@lab.command()
def average(
    models: Annotated[list[str], typer.Argument(metavar="REF…", help="Two models or more.")],
    recipe: RecipeName,
    out: Out,
    data: DataFolder = Path(),
    report: Report = None,
) -> None:
    """Average the weights of models fitted from one encoder into one, and measure it.

    It costs no more to serve than one of them.
    """
    from stream_app.model.references import resolve
    from training.improving.average import average as run
    from training.recipes import load_recipe

    artifact = run([resolve(model) for model in models], load_recipe(recipe), data, out)
    tell({**artifact.card.evaluation, **artifact.card.training}, report)


@lab.command()
def cross_validate(
    recipe: RecipeName,
    data: DataFolder = Path(),
    encoder: Encoder = None,
    by: Annotated[
        Literal["fold", "source"],
        typer.Option(help="fold: every message, out of fold. source: each corpus by the others."),
    ] = "fold",
    folds: Annotated[int, typer.Option(min=2, help="Models to fit, with --by fold.")] = 5,
    steps: Steps = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Also write the figures into this model's card."),
    ] = None,
    report: Report = None,
    html: Html = None,
) -> None:
    """Measure a recipe on messages, or on whole corpora, that its model did not learn from.

    Near-duplicates are never on both sides. It fits a model for every fold or source.
    """
    from training.fitting.build import FitJob, empty_card, load_encoder
    from training.fitting.seal import ENGINE
    from training.improving.cross_validate import add_to_card, cross_corpus, model_of, out_of_fold
    from training.recipes import load_recipe

    job = FitJob(load_recipe(recipe), data, encoder, out=Path(), steps=steps)
    if model:
        model_of(job.recipe, model)  # refused now, not after hours of fitting
    start = load_encoder(job.recipe, encoder)
    scored = out_of_fold(job, start, folds) if by == "fold" else cross_corpus(job, start)
    about = {"model": f"recipe {recipe}, by {by}", "engine": ENGINE, "precision": "auto"}
    told = tell_scored(about, scored, empty_card(job.recipe), report, html)
    if model:
        how = {
            "encoder": start.digest,
            "steps": steps,
            "fits": folds if by == "fold" else len(scored),
        }
        add_to_card(model_of(job.recipe, model), by, {**how, "test": told["test"]})


@lab.command()
def advise(
    texts_per_second: Annotated[
        float | None, typer.Option(min=0, help="The rate that the model must reach.")
    ] = None,
    latency_ms: Annotated[
        float | None, typer.Option(min=0, help="The limit for 95 of 100 single texts.")
    ] = None,
    tokens: Annotated[int, typer.Option(help="Tokens in a text.")] = 128,
    engine: EngineName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    report: Report = None,
) -> None:
    """Advise a size of ALBERT: the largest that reaches a target, measured on this machine."""
    from training.improving.advise import Target
    from training.improving.advise import advise as run

    target = Target(tokens, texts_per_second, latency_ms)
    tell(run(target, engine, device, precision), report)
