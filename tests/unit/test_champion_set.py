"""What is learnt without corpora: corrections, and what the champion itself is sure of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from stream_app.core.errors import ConfigError
from stream_app.model.artifact import Artifact, load_artifact, write_card
from stream_app.model.ngrams import Features, NgramHead
from tests.refresh_desk import old_ham, old_spam
from tests.tiny_model import RARE, save_tiny_albert
from training.judging.evaluate import known_labels
from training.recipe import Recipe
from training.refreshing.champion.card_recipe import recipe_of
from training.refreshing.champion.reservoir import Seen
from training.refreshing.champion.texts import RESERVOIR, champion_set
from training.refreshing.feedback_set import Correction
from training.refreshing.rehearsal import FEEDBACK

NOW = datetime(2026, 3, 1, tzinfo=UTC)
UNSURE = "a text that says nothing"


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Sure of ham by one word, of spam by another, and of nothing else."""
    folder = save_tiny_albert(tmp_path_factory.mktemp("champion") / "model")
    features, weights = Features(words=1, bits=12), np.zeros((1 << 12, 2), np.int8)
    weights[features.buckets("good"), 0] = weights[features.buckets(RARE), 1] = 127
    NgramHead(features, weights, np.full(2, 0.3, np.float32), np.zeros(2, np.float32)).save(folder)
    write_card(folder, load_artifact(folder).card)
    return load_artifact(folder)


@pytest.fixture(scope="module")
def recipe(champion: Artifact) -> Recipe:
    return recipe_of(champion.card)


def seen(*texts: str) -> list[Seen]:
    return [Seen(f"mail/0/{number}", text) for number, text in enumerate(texts)]


HAM = [old_ham(n) for n in range(200)]
SPAM = [old_spam(n) for n in range(100)]


def correction(number: int, body: str, *labels: str, id_: str | None = None) -> Correction:
    return Correction(id_, "", body, labels, "ada", NOW, number, 0, number)


def test_only_what_the_champion_is_sure_of_is_learnt_and_tested(
    champion: Artifact, recipe: Recipe
) -> None:
    unsure = [f"{UNSURE} {n}" for n in range(40)]
    corpus = champion_set(champion, [], seen(*HAM, *SPAM, *unsure), recipe)
    known = [*corpus.train, *corpus.validation, *corpus.test[RESERVOIR]]
    assert {e.label for e in known} == {"ham", "spam"}
    assert all(max(e.belief) >= 0.99 for e in known)
    assert not any(UNSURE in e.text for e in known)
    assert any(UNSURE in e.text for e in corpus.unlabelled), "drift is measured from all"


def test_of_several_labels_those_are_learnt_that_the_champion_is_sure_of(
    champion: Artifact, recipe: Recipe
) -> None:
    several = {"problem": "multi_label", "temperature": 0.5}
    tagger = replace(champion, card=champion.card.model_copy(update=several))
    both = [f"{text} good" for text in SPAM]
    given = [correction(n, f"{UNSURE} {n} {n * n}", "ham", "spam") for n in range(20)]
    corpus = champion_set(
        tagger,
        given,
        seen(*HAM, *both),
        recipe.model_copy(update={"problem": "multi_label"}),
    )
    every = [*corpus.train, *corpus.validation, *corpus.test[RESERVOIR]]
    of_ham = [e for e in every if e.text in HAM]
    assert {e.labels for e in of_ham} == {("ham",)}, "nothing is said of spam: it is not sure"
    assert all(np.isnan(e.belief[1]) and e.belief[0] >= 0.99 for e in of_ham)
    known = known_labels(of_ham, tagger.card.labels)
    assert known is not None
    assert known.tolist() == [[True, False]] * len(of_ham)
    corrected = [e for e in every if e.source == FEEDBACK]
    assert {(e.labels, e.belief) for e in corrected} == {(("ham", "spam"), ())}


def test_a_correction_of_a_recent_record_replaces_what_the_champion_says(
    champion: Artifact, recipe: Recipe
) -> None:
    given = [
        correction(n, text, "spam", id_=f"mail/0/{n}" if n % 2 else None)
        for n, text in enumerate(HAM[:60])
    ]
    corpus = champion_set(
        champion, given, seen(*HAM, *[h + " again" for h in HAM[:9]], *SPAM), recipe
    )
    every = [*corpus.train, *corpus.validation, *corpus.unlabelled]
    every += [e for test in corpus.test.values() for e in test]
    of_them = [e for e in every if any(e.text.startswith(text) for text in HAM[:60])]
    assert of_them
    assert {(e.label, e.source, e.belief) for e in of_them} == {("spam", FEEDBACK, ())}


def test_all_corrections_together_count_no_more_than_the_rest(
    champion: Artifact, recipe: Recipe
) -> None:
    few = [correction(n, f"{UNSURE} {n} {n * n}", "spam") for n in range(8)]
    many = [correction(n, f"{n} {n * n} {n + 7} {UNSURE}", "spam") for n in range(200)]
    for given in (few, many):
        corpus = champion_set(champion, given, seen(*HAM, *SPAM), recipe)
        told = [e.times for e in corpus.train if e.source == FEEDBACK]
        assert set(told) <= {10} if given is few else set(told) == {1}


def test_too_few_and_spam_alone_are_refused_with_the_number(
    champion: Artifact, recipe: Recipe
) -> None:
    with pytest.raises(ConfigError, match="sure of 99 that are not spam, and 100 are needed"):
        champion_set(champion, [], seen(*HAM[:99], *SPAM), recipe)
    with pytest.raises(ConfigError, match="sure of 0 that are not spam"):
        champion_set(champion, [], seen(*SPAM), recipe)


def test_a_card_is_a_recipe(champion: Artifact) -> None:
    from stream_app.model.references import resolve
    from training.recipes import load_recipe

    shipped, found = load_recipe("spam"), recipe_of(resolve("builtin:spam").card)
    for part in ("labels", "max_tokens", "truncation", "preparation", "ngrams", "decide", "hyper"):
        assert getattr(found, part) == getattr(shipped, part), part
    refreshed = champion.card.model_copy(update={"version": "7+20260301.100000"})
    assert recipe_of(refreshed).version == "7"
