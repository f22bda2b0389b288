"""What a refresh learns from without its model's corpora: corrections, and the champion itself.

Recent texts that nobody labelled are learnt with the champion's own scores, so that it answers as
before wherever no correction says otherwise (Li and Hoiem, "Learning without Forgetting", 2016).
Only where it is sure: an unsure score says that it does not know, and to repeat it would hold the
model where corrections pull it away from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stream_app.core.errors import ConfigError
from stream_app.model.artifact import Artifact
from stream_app.model.decision import given, probabilities
from training.data.augment import shortened
from training.data.corpus import Corpus, Example
from training.data.split import like_any, parts
from training.fitting.seal import ENGINE
from training.judging.evaluate import score
from training.recipe import Recipe
from training.refreshing.champion.reservoir import Seen
from training.refreshing.feedback_set import Correction
from training.refreshing.opinions import sure
from training.refreshing.rehearsal import FEEDBACK, counted, examples_of, newest

RESERVOIR = "reservoir"  # the source of recent texts, and the name of the frozen test
_MOST_TIMES = 10  # that a correction counts; all together no more than the reservoir does
_SEED = 1


def champion_set(
    champion: Artifact, corrections: Sequence[Correction], seen: Sequence[Seen], recipe: Recipe
) -> Corpus:
    """Corrections and recent texts, as the corpus that the refreshed model is made from.

    Both are placed by hash, near-duplicates together. A recent text that is corrected, or much
    like one that is, counts no more by itself. `train`, `validation` and `test` have recent texts
    that the champion is sure of; `unlabelled` are the others, of the parts that are not learnt.
    """
    corrected = examples_of(corrections, recipe)
    recent = _uncorrected(seen, corrections, corrected)
    placed = parts([example.text.encode() for example in (*corrected, *recent)])
    by_hand = dict(zip((e.text for e in corrected), placed[: len(corrected)], strict=True))
    by_model = dict(zip((e.text for e in recent), placed[len(corrected) :], strict=True))
    believed, doubted = _believed(champion, recent)
    _check_enough(believed, len(recent), recipe)

    def at(part: str, examples: Sequence[Example]) -> list[Example]:
        return [
            e for e in examples if part == (by_hand if e.source == FEEDBACK else by_model)[e.text]
        ]

    rehearsed = at("train", believed)
    learnt = newest(
        at("train", corrected), recipe.refresh.max_feedback_share * recipe.refresh.budget
    )
    times = min(_MOST_TIMES, max(1, len(rehearsed) // max(1, len(learnt))))
    short = _cut(champion, rehearsed, recipe)
    told = counted(learnt, at("test", corrected), at("validation", corrected)) | {
        "reservoir": len(recent),
        "rehearsed": len(rehearsed),
        "each_counts": times,
    }
    return Corpus(
        train=[*(replace(example, times=times) for example in learnt), *rehearsed, *short],
        unlabelled=[e for e in doubted if by_model[e.text] != "train"],
        validation=[*at("validation", corrected), *at("validation", believed)],
        test={
            RESERVOIR: at("test", believed),
            FEEDBACK: at("test", corrected),
        },
        lineage=[*(part for part in champion.card.data if FEEDBACK not in part), {FEEDBACK: told}],
    )


def scored(model: Artifact, examples: Sequence[Example]) -> tuple[NDArray[np.float32], list[bool]]:
    """Calibrated scores [texts, labels], and whether each text is familiar."""
    found = score(model, [replace(example, labels=()) for example in examples], ENGINE)
    bar, measured = model.card.familiar_at, found.familiarities
    strange = (
        measured < bar if bar is not None and measured is not None else len(examples) * [False]
    )
    return probabilities(found.logits, model.card, found.lengths), [not each for each in strange]


def _uncorrected(
    seen: Sequence[Seen], corrections: Sequence[Correction], corrected: Sequence[Example]
) -> list[Example]:
    ids = {each.id for each in corrections}
    rest = [each.text for each in seen if each.id not in ids]
    alike = like_any(rest, [example.text for example in corrected])
    return [
        Example(text, (), source=RESERVOIR)
        for text, spoken_for in zip(rest, alike, strict=True)
        if not spoken_for
    ]


def _believed(
    champion: Artifact, examples: Sequence[Example]
) -> tuple[list[Example], list[Example]]:
    """Those that the champion is sure of, with its labels and its scores; and the others. Of
    several labels a text it may be sure of some alone: only those are learnt, and tested on."""
    card = champion.card
    scores, familiar = scored(champion, examples)
    is_sure = sure(scores, card.problem) & np.array(familiar, dtype=np.bool_)[:, None]
    labels = given(scores, card) & is_sure
    believed, doubted = [], []
    for example, row, certain, said in zip(examples, scores, is_sure, labels, strict=True):
        if certain.any():
            names = tuple(name for name, has in zip(card.labels, said, strict=True) if has)
            belief = tuple(np.where(certain, row, np.nan).tolist())
            believed.append(replace(example, labels=names, belief=belief))
        else:
            doubted.append(example)
    return believed, doubted


def _check_enough(believed: Sequence[Example], recent: int, recipe: Recipe) -> None:
    """A stream of nothing but spam does not show what would happen to good mail."""
    limited, least = set(recipe.gates.false_positives), recipe.refresh.min_reservoir
    count = sum(limited.isdisjoint(example.labels) for example in believed)
    if count < least:
        but = f" that are not {', '.join(sorted(limited))}" if limited else ""
        raise ConfigError(
            f"of {recent} recent texts of the input topic the champion is sure of {count}{but}, "
            f"and {least} are needed to see that a new model forgets nothing: wait for more, "
            "lengthen the topic's retention, or give what the model was made from, with --recipe "
            "and --data"
        )


def _cut(champion: Artifact, examples: Sequence[Example], recipe: Recipe) -> list[Example]:
    """Some of them cut short, with what the champion says of so few words."""
    share = recipe.ngrams.short_copies if recipe.ngrams else 0.0
    short = shortened(examples, share, _SEED)
    scores, _ = scored(champion, short)
    return [
        replace(example, belief=tuple(row.tolist()))
        for example, row in zip(short, scores, strict=True)
    ]
