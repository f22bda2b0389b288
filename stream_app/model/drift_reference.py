"""What a model made of texts like those it learnt from, and how far other texts are from that.

Five statistics of a labelled text, each a histogram or several in `drift.json`:

    label       the label it got; where it may have several, for each whether it got it
    confidence  of that label, calibrated
    tokens      how many the engine read
    unknown     the share of its tokens that the vocabulary does not know
    embedding   the mean of its tokens' input embeddings, in a few fixed random directions

The distance is the population stability index, the symmetric Kullback-Leibler divergence of two
histograms, less what chance alone makes of it: (bins - 1)(1/n + 1/m). Yurdakul and Naranjo,
"Statistical Properties of the Population Stability Index", 2020. Below 0.1 nothing happened, above
0.25 a lot did, as the credit industry has read it for decades.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stream_app.core.errors import ModelError
from stream_app.model.albert import read_embeddings
from stream_app.model.artifact import DRIFT, Artifact, Problem
from stream_app.model.checks.files import MIB, read_file

Table = NDArray[np.float32]
Edge = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**53)]

DRIFT_BYTES = 4 * MIB
DIRECTIONS = 8
COLUMNS = {"label": 1, "confidence": 1, "tokens": 1, "unknown": 1, "embedding": DIRECTIONS}
BINS = 10
# quantiles would tell nothing of what most texts have none of, and tell 0.999 from 0.9999, on
# which no decision depends
UNKNOWN_EDGES = (0.001, 0.01, 0.03, 0.1)
CONFIDENCE_EDGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


class Labelled(NamedTuple):
    """A text with its labels: what drift is seen by. The confidence is that of the highest."""

    tokens: Sequence[int]
    labels: tuple[str, ...]
    confidence: float


class Histogram(BaseModel):
    """How many values lie between edges; the first bin and the last are open."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    edges: tuple[Edge, ...] = Field(max_length=1000)
    counts: tuple[Count, ...]

    @model_validator(mode="after")
    def _whole(self) -> Histogram:
        if len(self.counts) != len(self.edges) + 1 or list(self.edges) != sorted(self.edges):
            raise ValueError("a histogram has ascending edges, and one count more")
        return self

    @classmethod
    def of(cls, values: NDArray[np.float64], edges: Sequence[float]) -> Histogram:
        """The histogram of `values` [rows]."""
        found = np.searchsorted(np.asarray(edges), values, side="left")
        counts = np.bincount(found, minlength=len(edges) + 1)
        return cls(edges=tuple(edges), counts=tuple(counts.tolist()))

    def distance(self, values: NDArray[np.float64]) -> float:
        """The index of `values` [rows] against this; 0 where chance explains it."""
        from scipy.special import rel_entr  # 0.2 s, which a worker need not wait for at its start

        other = Histogram.of(values, self.edges)
        mine, theirs = _shares(self.counts), _shares(other.counts)
        index = float((rel_entr(mine, theirs) + rel_entr(theirs, mine)).sum())
        by_chance = len(self.edges) * (1 / sum(self.counts) + 1 / max(1, len(values)))
        return max(0.0, index - by_chance)


class DriftReference(BaseModel):
    """`drift.json`. `unknown` is the id of the token for what the vocabulary lacks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: tuple[str, ...]
    unknown: int | None
    statistics: dict[str, tuple[Histogram, ...]]

    @model_validator(mode="after")
    def _known(self) -> DriftReference:
        for name, histograms in self.statistics.items():
            several = name == "label" and len(histograms) == len(self.labels)
            if COLUMNS.get(name) != len(histograms) and not several:
                raise ValueError(f"statistics: not so many histograms of {name[:40]!a}")
            if not all(sum(histogram.counts) for histogram in histograms):
                raise ValueError(f"statistics: an empty histogram of {name}")
        return self


@dataclass(frozen=True, slots=True)
class Drift:
    """A model's reference, with its projected embeddings: float32 [vocabulary, directions]."""

    reference: DriftReference
    table: Table
    problem: Problem

    def scores(self, seen: Sequence[Labelled]) -> dict[str, float]:
        """How far texts are from the reference, by statistic: the mean over its histograms, but of
        several labels a text the one whose share moved most.

        A millisecond for a thousand texts and more: not for the event loop.
        """
        known = self.reference
        found = measured(seen, known.labels, self.problem, known.unknown, self.table)
        return {
            name: float(
                (np.max if name == "label" else np.mean)(
                    [h.distance(x) for h, x in zip(hs, found[name].T, strict=True)]
                )
            )
            for name, hs in known.statistics.items()
        }


def measured(
    seen: Sequence[Labelled],
    labels: Sequence[str],
    problem: Problem,
    unknown: int | None,
    table: Table,
) -> Mapping[str, NDArray[np.float64]]:
    """float64 [texts, columns] of each statistic."""
    lengths = np.array([len(text.tokens) for text in seen])
    ids = np.concatenate([np.asarray(text.tokens, dtype=np.int64) for text in seen])
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    unknowns = np.add.reduceat((ids == (-1 if unknown is None else unknown)).astype(float), starts)
    means = np.add.reduceat(table[ids], starts, axis=0) / lengths[:, None]
    columns = {
        "confidence": np.array([text.confidence for text in seen]),
        "tokens": lengths,
        "unknown": unknowns / lengths,
    }
    found = {name: values.astype(np.float64)[:, None] for name, values in columns.items()}
    if problem == "single_label":
        given = [[labels.index(text.labels[0])] for text in seen]
    else:
        given = [[label in text.labels for label in labels] for text in seen]
    return {
        "label": np.array(given, dtype=np.float64),
        **found,
        "embedding": means.astype(np.float64),
    }


def projected_embeddings(artifact: Artifact) -> Table:
    """The model's input embeddings along random directions, the same on every machine.

    Signs for directions: Achlioptas, "Database-friendly Random Projections", 2003. Raises
    ModelError for weights without them.
    """
    table = read_embeddings(artifact)
    width = table.shape[1]
    bits = hashlib.shake_256(b"winnow drift").digest((width * DIRECTIONS + 7) // 8)
    signs = np.unpackbits(np.frombuffer(bits, np.uint8))[: width * DIRECTIONS] * 2.0 - 1
    projection = (signs / np.sqrt(width)).astype(np.float32).reshape(width, DIRECTIONS)
    return np.asarray(table @ projection, dtype=np.float32)


def load_drift(artifact: Artifact) -> Drift | None:
    """The artifact's reference, None where it has none. Raises ModelError for one that is wrong."""
    file = artifact.path / DRIFT
    if not file.exists():
        return None
    try:
        data = read_file(artifact.path, DRIFT, DRIFT_BYTES)
        reference = DriftReference.model_validate_json(data)
    except ValidationError as error:
        raise ModelError(f"{file} is no drift reference: {error.errors()[0]['msg']}") from None
    if reference.labels != artifact.card.labels:
        raise ModelError(f"{file} does not fit the labels of {artifact.card.name}")
    if artifact.card.problem == "multi_label" and len(reference.statistics.get("label", ())) == 1:
        # made before, of each text's highest label, which need not be one that it was given
        others = {name: hs for name, hs in reference.statistics.items() if name != "label"}
        reference = reference.model_copy(update={"statistics": others})
    return Drift(reference, projected_embeddings(artifact), artifact.card.problem)


def _shares(counts: Sequence[int]) -> NDArray[np.float64]:
    """Shares of the whole, half a value added to each bin: an empty one would be infinitely far."""
    filled = np.asarray(counts, dtype=np.float64) + 0.5
    return np.asarray(filled / filled.sum())
