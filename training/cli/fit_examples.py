"""`winnow-train fit --examples`: what was found, the fit, and how to serve what came out."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from stream_app.core.errors import ConfigError
from stream_app.core.messages import Message
from stream_app.model.artifact import WEIGHTS, Artifact, ModelCard, sha256
from stream_app.model.preparation import Preparation
from stream_app.model.references import ENCODER, resolve_folder
from training.cli.options import load_route, tell
from training.examples.build import Job, fit
from training.examples.found import Examples, examples_of
from training.examples.reading import Fields, Labelled, Reading, read
from training.examples.told import found_lines, result_lines, serving_lines
from training.fitting.model_files import require_encoder

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Given:
    """The options of the command."""

    examples: Path
    labels: Sequence[str]
    text_field: str | None
    label_field: str | None
    feedback: str | None
    config: Path | None
    encoder: str | None
    false_positives: float | None
    out: Path
    report: Path | None


def fit_examples(given: Given) -> None:
    """Run the command. Raises WinnowError."""
    reading = read(given.examples, Fields(given.text_field, given.label_field))
    corrections = _corrections(given, reading)
    found = examples_of(reading, corrections, given.labels, Preparation())
    _say(found_lines(found))
    model = fit(
        Job(
            found=found,
            encoder=_encoder(given.encoder or ENCODER),
            out=given.out,
            name=_name(given.out),
            lineage=_lineage(given, found),
            progress=_log.info,
            text_field=reading.field_names.get("text", ""),
            false_positives=given.false_positives,
        )
    )
    _say(("", *result_lines(model), "", *serving_lines(model, given.out, reading)))
    if given.report:
        tell(model.card.evaluation, given.report)


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)


def _name(out: Path) -> str:
    """Of the model and its route: the folder's, as a route may be called."""
    name = re.sub(r"[^a-z0-9_-]+", "-", out.resolve().name.lower()).strip("-_")
    return name[:63] or "mine"


def _encoder(reference: str) -> Artifact:
    folder = resolve_folder(reference)
    require_encoder(folder)
    card = ModelCard(name="encoder", version="1", labels=("-", "--"), description=reference)
    return Artifact(folder, card, sha256(folder / WEIGHTS))


def _lineage(given: Given, found: Examples) -> list[dict[str, Any]]:
    file = given.examples
    return [
        {
            "file": file.name,
            "sha256": sha256(file) if file.is_file() else None,
            "use": "train",
            "rows": {"train": len(found.examples)},
            "labels": {"train": found.counts},
            "left_out": dict(found.told),
            "terms": "its owner's",
        }
    ]


def _corrections(given: Given, reading: Reading) -> list[Labelled]:
    """All that the feedback topic has of a route, of the labels that the examples have."""
    if given.feedback is None:
        return []
    if given.config is None:
        raise ConfigError("--feedback ROUTE needs --config FILE: it says where the topic is")
    from training.refreshing.feedback_pull import FeedbackSource, pull
    from training.refreshing.feedback_set import pulls, read_set

    settings, route = load_route(given.config, given.feedback)
    labels = given.labels or sorted({name for each in reading.found for name in each.labels})
    topic, problem = settings.feedback.topic, reading.problem
    source = FeedbackSource(settings.kafka, topic, route, labels, problem)
    with tempfile.TemporaryDirectory() as folder:
        pull(source, Path(folder))
        found = read_set(Path(folder), pulls(Path(folder))).corrections
    return [Labelled(Message(title=each.title, body=each.body), each.labels) for each in found]
