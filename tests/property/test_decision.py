"""Whatever the logits: scores are a distribution, and evidence changes how sure, never which."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_app.model.artifact import ModelCard
from stream_app.model.decision import decide, probabilities

LABELS = ("a", "b", "c")
FINITE = st.floats(-50, 50, width=32)
EVIDENCE = st.floats(0, 1000)
TEMPERATURE = st.floats(0.1, 10)
ROWS = st.lists(
    st.tuples(FINITE, FINITE, FINITE, st.integers(1, 512), st.floats(0, 1)), min_size=1, max_size=8
)
Rows = list[tuple[float, float, float, int, float]]


def card(evidence: float, temperature: float, **more: object) -> ModelCard:
    how = {"evidence": evidence, "temperature": temperature, **more}
    return ModelCard(name="m", version="1", labels=LABELS).model_copy(update=how)


def parts(rows: Rows) -> tuple[NDArray[np.float32], NDArray[np.int64], list[float]]:
    """Logits, lengths, familiarities."""
    logits = np.array([row[:3] for row in rows], np.float32)
    return logits, np.array([row[3] for row in rows]), [row[4] for row in rows]


@given(ROWS, EVIDENCE, TEMPERATURE)
def test_scores_are_a_distribution(rows: Rows, evidence: float, temperature: float):
    logits, lengths, _ = parts(rows)
    scores = probabilities(logits, card(evidence, temperature), lengths)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)


@given(ROWS, EVIDENCE, TEMPERATURE, st.sampled_from(["single_label", "multi_label"]))
def test_evidence_never_changes_a_label_and_only_makes_it_less_sure(
    rows: Rows, evidence: float, temperature: float, problem: str
):
    logits, lengths, familiarities = parts(rows)
    made, plain = (
        decide(logits, card(e, temperature, problem=problem), lengths, familiarities)
        for e in (evidence, 0.0)
    )
    for row, one, other in zip(logits, made, plain, strict=True):
        assert one.label == other.label == LABELS[int(row.argmax())]
        assert one.confidence == max(one.scores.values())
        if problem == "single_label" or row.max() >= 0:
            assert one.confidence <= other.confidence + 1e-6


@given(ROWS, EVIDENCE, TEMPERATURE, st.floats(0, 1), st.floats(0, 1))
def test_a_decision_depends_on_its_own_text_alone(
    rows: Rows, evidence: float, temperature: float, bar: float, familiar_at: float
):
    how = card(evidence, temperature, decide_at=dict.fromkeys(LABELS, bar), familiar_at=familiar_at)
    logits, lengths, familiarities = parts(rows)
    together = decide(logits, how, lengths, familiarities)
    for at, made in enumerate(together):
        one = slice(at, at + 1)
        assert decide(logits[one], how, lengths[one], familiarities[one]) == [made]
        told = round(familiarities[at], 6)
        sure = made.confidence >= bar and told >= familiar_at
        assert made.decision == (made.label if sure else "unsure")
        assert made.marks == (() if told >= familiar_at else ("unfamiliar",))
