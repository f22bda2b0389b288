"""What a refresh learns from: corrections, and under a fixed budget old texts against forgetting.

A model that learns new texts alone forgets the old ones; a sample of them, learnt again with the
new, keeps most: Rolnick et al., "Experience Replay for Continual Learning", 2019.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stream_app.core.errors import SourceError
from stream_app.model.artifact import sha256
from stream_app.model.preparation import prepare
from training.data.corpus import Corpus, Example, load_corpus
from training.data.corpus_file import read_corpus, write_corpus
from training.data.split import like_any, parts, stratified
from training.recipe import Recipe
from training.refreshing.feedback_set import Correction

FEEDBACK = "feedback"  # the source of corrections, and the name of the test that is held out
_log = logging.getLogger(__name__)


def base_set(recipe: Recipe, data: Path, folder: Path) -> Corpus:
    """The recipe's own corpus; its tests are samples, always the same. Kept in `folder`, since
    looking for near-duplicates takes minutes, until the recipe or a file of it changes."""
    place = folder / f"base-{_key(recipe, data)}"
    if not place.exists():
        _log.info("reading the data of recipe %s", recipe.name)
        corpus = load_corpus(recipe, data)
        corpus.test = {
            name: _sample(examples, recipe.refresh.test_rows, "")
            for name, examples in corpus.test.items()
        }
        write_corpus(corpus, place)
    return read_corpus(place)


def require_files(recipe: Recipe, data: Path) -> None:
    """Raises SourceError for a file of the recipe that is not in the folder `data`."""
    for file in (source.path(data) for source in recipe.sources if source.file):
        if not file.is_file():
            raise SourceError(
                f"data file {file} does not exist: check --data, or leave it out to go on from the "
                "champion alone"
            )


def merge(base: Corpus, corrections: Sequence[Correction], recipe: Recipe, salt: str) -> Corpus:
    """Corrections and rehearsed texts, as the corpus that the refreshed model is made from.

    Corrections are placed as every text is, by hash: a fifth is held out as test `feedback`, some
    are for calibration. The newest are learnt, up to their share of the budget; the rest of it is a
    sample of the base set, each source's labels as frequent as they are there. Another `salt` draws
    another sample, so that in time all of the base set is rehearsed. A correction of a base text
    replaces it; one of a test text, or of one much like it, is left out.
    """
    learnable, validation, held_out, dropped = _placed(base, corrections, recipe)
    corrected = {example.text for example in learnable}
    train, more, how = base.train, base.more, recipe.refresh
    new = newest(learnable, how.max_feedback_share * how.budget)
    rest = learnable[: len(learnable) - len(new)]
    old = _sample(_without(train, corrected), how.budget - len(new), salt)
    chosen = {id(example) for example in old}
    others = [example for example in (*train, *more) if id(example) not in chosen]
    room = max(0, how.head_budget - len(new) - len(old))
    further = newest(rest, how.max_feedback_share * room)
    rehearsed = _sample(_without(others, corrected), room - len(further), salt)
    told = counted([*new, *further], held_out, validation) | {
        "dropped_like_a_test_text": dropped,
        "rehearsed": {"encoder": len(old), "head": len(old) + len(rehearsed)},
    }
    return Corpus(
        train=[*old, *new],
        more=[*rehearsed, *further],
        validation=[*base.validation, *validation],
        test={**base.test, FEEDBACK: held_out},
        lineage=[*base.lineage, {FEEDBACK: told}],
    )


def counted(
    learnt: Sequence[Example], held_out: Sequence[Example], validation: Sequence[Example]
) -> dict[str, Any]:
    """How many corrections are for what, for the card."""
    return {
        "learnt": len(learnt),
        "held_out": len(held_out),
        "validation": len(validation),
        "labels": dict(sorted(Counter(name for ex in learnt for name in ex.labels).items())),
    }


def examples_of(corrections: Sequence[Correction], recipe: Recipe) -> list[Example]:
    """Each correction's text as a model sees it; of equal texts the last counts."""
    found: dict[str, Example] = {}
    for each in corrections:
        text = prepare(each.title, each.body, recipe.preparation)
        if text and set(each.labels) <= set(recipe.labels):
            found.pop(text, None)
            found[text] = Example(text, each.labels, "", FEEDBACK)
    return list(found.values())


def _placed(
    base: Corpus, corrections: Sequence[Correction], recipe: Recipe
) -> tuple[list[Example], list[Example], list[Example], int]:
    """Corrections to learn from, to calibrate on, to hold back; and how many leak into a test."""
    examples = examples_of(corrections, recipe)
    kept_apart = [*(e for examples in base.test.values() for e in examples), *base.validation]
    leaks = like_any([example.text for example in examples], [e.text for e in kept_apart])
    clean = [example for example, leaks in zip(examples, leaks, strict=True) if not leaks]
    by_part: dict[str, list[Example]] = {"train": [], "validation": [], "test": []}
    for example, part in zip(clean, parts([e.text.encode() for e in clean]), strict=True):
        by_part[part].append(example)
    dropped = len(examples) - len(clean)
    return by_part["train"], by_part["validation"], by_part["test"], dropped


def _sample(examples: Sequence[Example], count: int, salt: str) -> list[Example]:
    return stratified(
        examples,
        max(0, count),
        lambda example: (example.source, *example.labels),
        lambda example: f"{salt}\0{example.text}".encode(),
    )


def newest(examples: Sequence[Example], count: float) -> Sequence[Example]:
    """The last so many of them, rounded down."""
    return examples[max(0, len(examples) - int(count)) :]


def _without(examples: Sequence[Example], texts: set[str]) -> list[Example]:
    return [example for example in examples if example.text not in texts]


def _key(recipe: Recipe, data: Path) -> str:
    """Changes when anything does that the base set depends on."""
    files: list[Any] = [sha256(s.path(data)) for s in recipe.sources if s.file]
    parts_of = {"sources", "preparation", "labels", "problem"}
    described = recipe.model_dump(mode="json", include=parts_of) | {"files": files}
    described["test_rows"] = recipe.refresh.test_rows
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
