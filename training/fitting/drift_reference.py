"""Makes a model's `drift.json` from texts that the model has not learnt from, scored as served."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.core.errors import ConfigError
from stream_app.model.artifact import DRIFT, TOKENIZER, Artifact, write_card
from stream_app.model.decision import decide, lengths
from stream_app.model.drift_reference import (
    BINS,
    CONFIDENCE_EDGES,
    UNKNOWN_EDGES,
    DriftReference,
    Histogram,
    Labelled,
    measured,
    projected_embeddings,
)
from stream_app.model.tokenizer import Tokenizer
from training.data.corpus import Corpus, Example
from training.judging.evaluate import score


def write_reference(
    artifact: Artifact, examples: Sequence[Example], logits: NDArray[np.float32]
) -> None:
    """Write the reference into the artifact's folder; without examples there is none.

    `logits` [examples, labels] are the served ones, not calibrated. The card has to be sealed again
    afterwards.
    """
    file = artifact.path / DRIFT
    file.unlink(missing_ok=True)
    if examples:
        seen = labelled(artifact, examples, logits)
        file.write_text(reference(artifact, seen).model_dump_json() + "\n")


def add_reference(artifact: Artifact, corpus: Corpus, engine: str) -> dict[str, Any]:
    """Give a sealed model a new reference; of how many validation texts.

    Raises ConfigError when there are none.
    """
    if not corpus.validation:
        raise ConfigError("a drift reference is made of validation texts: the recipe has none")
    logits = score(artifact, corpus.validation, engine).logits
    write_reference(artifact, corpus.validation, logits)
    write_card(artifact.path, artifact.card)
    return {"texts": len(corpus.validation)}


def labelled(
    artifact: Artifact, examples: Sequence[Example], logits: NDArray[np.float32]
) -> list[Labelled]:
    """The examples as a drift monitor sees them."""
    ids = Tokenizer(artifact).encode([example.text for example in examples])
    made = decide(logits, artifact.card, lengths(ids))
    return [Labelled(i, p.labels, p.confidence) for i, p in zip(ids, made, strict=True)]


def reference(artifact: Artifact, seen: Sequence[Labelled]) -> DriftReference:
    """Histograms of labelled texts: ten bins of as many texts each, where no edges are given."""
    card, unknown = artifact.card, _unknown_id(artifact)
    labels, several = card.labels, card.problem == "multi_label"
    found = measured(seen, labels, card.problem, unknown, projected_embeddings(artifact))
    given = {
        "label": np.array([0.5]) if several else np.arange(len(labels) - 1) + 0.5,
        "confidence": np.array(CONFIDENCE_EDGES),
        "unknown": np.array(UNKNOWN_EDGES),
    }
    return DriftReference(
        labels=labels,
        unknown=unknown,
        statistics={
            name: tuple(
                Histogram.of(values, given.get(name, _quantiles(values)).tolist())
                for values in columns.T
            )
            for name, columns in found.items()
        },
    )


def _quantiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rounded so that the file is small; an edge at the highest value would leave a bin empty."""
    edges = np.unique(np.quantile(values, np.arange(1, BINS) / BINS).round(5))
    return np.asarray(edges[edges < values.max()])


def _unknown_id(artifact: Artifact) -> int | None:
    """As `tokenizer.json` has it: Unigram names the id, the other models the token."""
    model = json.loads((artifact.tokenizer / TOKENIZER).read_bytes())["model"]
    if "unk_id" in model:
        return None if model["unk_id"] is None else int(model["unk_id"])
    found = model.get("vocab", {}).get(model.get("unk_token"))
    return None if found is None else int(found)
