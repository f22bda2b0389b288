"""Commands that make an encoder to fit: its vocabulary, and a smaller one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stream_app.core.errors import ConfigError
from training.cli.options import DataFolder, Report, tell

_LOCAL = ("news", "reviews", "spam")  # recipes whose texts are files


class VocabularyKind(StrEnum):
    """What `vocab` can build."""

    SENTENCEPIECE = "sentencepiece"
    WORDPIECE = "wordpiece"


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
    from training.data.corpus import load_corpus
    from training.improving import vocab as vocabulary
    from training.recipe import load_recipe

    corpora = [load_corpus(load_recipe(name), data) for name in recipe]
    texts = [example.text for corpus in corpora for example in corpus.train]
    tokenizer = vocabulary.build(texts, kind.value, size, lowercase)
    vocabulary.save(tokenizer, kind.value, out)
    if encoder:
        vocabulary.transplant(encoder, tokenizer, out)
    tell(vocabulary.figures(tokenizer, texts, encoder), report)


def distil(
    teacher: Annotated[Path, typer.Option(help="The ALBERT encoder folder to learn from.")],
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="The folder to make: an encoder for `fit`.")],
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
            help="An encoder that learns on, instead of one that starts from the teacher.",
        ),
    ] = None,
    report: Report = None,
) -> None:
    """Distil a true ALBERT encoder (one shared layer, factorised embeddings) from a larger one."""
    from training.data.corpus import load_corpus
    from training.improving.distil import Distillation
    from training.improving.distil import distil as run
    from training.recipe import load_recipe

    if student and layers:
        raise ConfigError("a --student has its own number of layers: leave out --layers")
    corpora = [load_corpus(load_recipe(name), data) for name in recipe or _LOCAL]
    texts = [example.text for corpus in corpora for example in corpus.train]
    figures = run(teacher, texts, out, Distillation(steps=steps, layers=layers), student)
    figures["data"] = [source for corpus in corpora for source in corpus.lineage]
    tell(figures, out / "distillation.json")
    tell(figures, report)
