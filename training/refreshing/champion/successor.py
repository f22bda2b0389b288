"""From files to a champion's successor, where no corpus says anew how sure a model may be.

The champion's calibration was measured on labelled texts that are not here. Its scores are what its
successor was fitted to, so temperature and evidence still hold. The bar of a label is never lower
than the champion's; it is raised where recent or invented texts of other labels would pass it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stream_app.model.artifact import NGRAMS, Artifact, ModelCard
from stream_app.model.decision import divisors
from stream_app.model.familiarity import load_familiarity
from stream_app.model.ngrams import Features, NgramHead, load_head
from training.data.corpus import Corpus
from training.fitting.drift_reference import write_reference
from training.fitting.familiarity import widened
from training.fitting.model_files import unsealed
from training.fitting.moved_head import Taught, moved
from training.fitting.seal import ENGINE, figures, without_exits
from training.judging.card import write_cards
from training.judging.decisions import decided
from training.judging.evaluate import int8_agreement, score, true_labels
from training.recipe import Ngrams, Recipe
from training.refreshing.champion.invented import invented
from training.refreshing.champion.texts import RESERVOIR
from training.refreshing.rehearsal import FEEDBACK


def move_head(out: Path, champion: Artifact, corpus: Corpus, how: Ngrams) -> dict[str, Any]:
    """Write the champion's n-gram head, moved to what the corpus teaches, beside the encoder in
    `out`; a champion without one gets one. Figures for the card."""
    (out / NGRAMS).unlink(missing_ok=True)
    model, examples = unsealed(out, champion.card), corpus.train
    labels = len(champion.card.labels)
    head = load_head(champion) or _empty(Features(how.words, how.characters, how.bits), labels)
    texts = [example.text for example in examples]
    encoder = score(model, examples, ENGINE)
    targets = true_labels(examples, champion.card).astype(np.float64)
    for row, example in enumerate(examples):
        if example.belief:
            targets[row] = example.belief
    taught = Taught(
        texts,
        (encoder.logits + head.logits(texts)).astype(np.float64),
        divisors(champion.card, encoder.lengths),
        targets,
        np.array([example.times for example in examples], dtype=np.float64),
        champion.card.problem,
    )
    moved(head, taught, how.strength).save(out)
    return {**how.model_dump(), "power": head.power, "texts": len(texts)}


def seal_successor(
    out: Path, champion: Artifact, card: ModelCard, corpus: Corpus, recipe: Recipe
) -> Artifact:
    """Evaluate the files in `out` as they will be served, and write their cards.

    The words of corrections become familiar. Those of other texts do not: from them nothing new was
    learnt. Drift is measured from all recent texts that were not learnt.
    """
    card = without_exits(out, card)
    tests = {name: examples for name, examples in corpus.test.items() if examples}
    card = card.model_copy(
        update={"int8_agreement": int8_agreement(unsealed(out, card), tests.values())}
    )
    if known := load_familiarity(champion):
        told = [example.text for example in corpus.train if example.source == FEEDBACK]
        widened(known, told).save(out)
    model = unsealed(out, card)
    recent = [*corpus.unlabelled, *corpus.validation, *corpus.test[RESERVOIR]]
    recent = [example for example in recent if example.source == RESERVOIR]
    write_reference(model, recent, score(model, recent, ENGINE).logits)
    scored = {name: score(model, examples, ENGINE) for name, examples in tests.items()}
    judged = [scored[RESERVOIR], score(model, invented(recipe), ENGINE)]
    found, bars = decided(card, recipe.decide, judged)
    decide_at = {
        label: max(bar, champion.card.decided_from(label)) for label, bar in found.decide_at.items()
    }
    card = card.model_copy(update={"decide_at": champion.card.decide_at | decide_at})
    for label, told_of in bars.get("decisions", {}).items():
        told_of["decide_at"] = decide_at[label]
    evaluation = figures(model, card, tests, scored) | bars
    return write_cards(out, card.model_copy(update={"evaluation": evaluation, "files": {}}))


def _empty(features: Features, labels: int) -> NgramHead:
    """A head that says nothing yet."""
    weights = np.zeros((1 << features.bits, labels), dtype=np.int8)
    scale, bias = np.ones(labels, dtype=np.float32), np.zeros(labels, dtype=np.float32)
    return NgramHead(features, weights, scale, bias)
