"""`winnow classify`: label files or stdin without Kafka, one JSON line a message."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Annotated, Any

import typer

from stream_app.cli.sources import STDIN, Format, Found, Source
from stream_app.codecs import CODECS
from stream_app.core.errors import RecordError
from stream_app.core.messages import Message, ParseSpec, Partition, Record
from stream_app.core.settings import load_registry
from stream_app.engine import load_engine
from stream_app.model.artifact import Artifact
from stream_app.model.ngrams import load_head
from stream_app.model.references import resolve
from stream_app.model.tokenizer import Tokenizer
from stream_app.pipeline.classify import CANARY, Classifier
from stream_app.pipeline.encode import Encoder
from stream_app.pipeline.served import ServedModel
from stream_app.pipeline.work import Work

BATCH_TOKENS = 4096
BATCH_RECORDS = 64
BATCH_SECONDS = 0.01  # a batch waits no longer for more, so a slow pipe sees its results at once
READ_AHEAD = 256  # messages that are tokenized while a batch is on the device

Feed = Queue[Work | Exception | None]  # an exception or None is the end


def classify(
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="REF", help="builtin:NAME, a path, hf://…, models:/…"
        ),
    ],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="Default, or -: stdin.")
    ] = None,
    message_format: Annotated[
        Format | None,
        typer.Option("--format", help="Default: by each file's name; text for stdin."),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="The backend: auto, packed, reference or fake.")
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Below it the decision is unsure.")
    ] = 0.0,
) -> None:
    """Label messages without Kafka: one JSON line each on stdout, in input order.

    Messages are: rfc822 a file, or each mail of an mbox; json each line, or each row of a .csv;
    feed an XML file, or each line; text each line. Folders and tar archives are read through, and
    so is .gz. A message that cannot be labelled gives a line with `error`, and exit code 1.
    """
    source = Source(files or [STDIN], message_format)
    artifact = resolve(model, load_registry(None))
    served = _served(artifact, engine, device, min_confidence)
    multi_label = artifact.card.problem == "multi_label"
    bad = 0
    for batch in _batches(_read_ahead(source, served)):
        served.classifier([work for work in batch if work.error is None])
        for work in batch:
            line = json.dumps(_result(work, multi_label), ensure_ascii=False) + "\n"
            # always UTF-8; the odd byte of a file's name comes out as the JSON escape it needs
            sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace"))
        sys.stdout.buffer.flush()
        bad += sum(work.error is not None for work in batch)
    if source.empty:
        typer.echo(f"winnow: left out {source.empty} empty files or mails", err=True)
    if bad:
        typer.echo(f"winnow: {bad} of the messages could not be labelled", err=True)
        raise typer.Exit(1)


def _served(artifact: Artifact, backend: str, device: str, min_confidence: float) -> ServedModel:
    """The model, warm. Raises ModelError, ConfigError."""
    card = artifact.card
    encoder = Encoder(Tokenizer(artifact), card.preparation, load_head(artifact))
    [canary] = encoder([CANARY])
    engine = load_engine(backend, artifact, device)
    engine.warm_up()
    classifier = Classifier(engine, card, min_confidence, canary, lambda outcome: None)
    return ServedModel(artifact.version, BATCH_TOKENS, encoder, engine, classifier)


def _prepared(found: Found, model: ServedModel) -> Work:
    """A message's tokens, or its error; its text is not kept."""
    work = Work(Record(Partition(found.name, 0), 0, None, None), model)
    try:
        message = CODECS[found.format](found.value, ParseSpec())
        work.message = Message(message_id=message.message_id)
        text = model.encoder.text(message)
        [work.tokens], [work.prior] = model.encoder([text]), model.encoder.priors([text])
    except RecordError as error:
        work.error = error
    return work


def _read_ahead(source: Iterable[Found], model: ServedModel) -> Feed:
    """Read and tokenize on a thread of its own, never more than READ_AHEAD messages ahead."""
    feed: Feed = Queue(READ_AHEAD)

    def read() -> None:
        try:
            for found in source:
                feed.put(_prepared(found, model))
            feed.put(None)
        except Exception as error:  # raised again where the results are written
            feed.put(error)

    Thread(target=read, daemon=True).start()
    return feed


def _batches(feed: Feed) -> Iterator[list[Work]]:
    """Works in input order, as many as fit a batch and are there."""
    batch: list[Work] = []
    tokens = 0
    while True:
        try:
            work = feed.get(timeout=BATCH_SECONDS if batch else None)
        except Empty:
            yield batch
            batch, tokens = [], 0
            continue
        size = len(work.tokens) if isinstance(work, Work) else 0
        full = len(batch) == BATCH_RECORDS or tokens + size > BATCH_TOKENS
        if batch and (full or not isinstance(work, Work)):
            yield batch
            batch, tokens = [], 0
        if isinstance(work, Exception):
            raise work
        if work is None:
            return
        batch.append(work)
        tokens += size


def _result(work: Work, multi_label: bool) -> dict[str, Any]:
    """What is written of a message."""
    result: dict[str, Any] = {"source": work.record.partition.topic}
    if work.message and work.message.message_id:
        result["id"] = work.message.message_id
    if work.prediction is None:
        error = work.error or RecordError("internal", "no step gave this message a result")
        return result | {"error": error.code, "reason": str(error)}
    result["label"] = work.prediction.label
    if multi_label:
        result["labels"] = list(work.prediction.labels)
    return result | {
        "confidence": work.prediction.confidence,
        "scores": dict(work.prediction.scores),
        "decision": work.prediction.decision,
    }
