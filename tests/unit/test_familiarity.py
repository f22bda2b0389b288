"""Familiarity: which words a model knows, and that texts of its own kinds are seldom strange."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from stream_app.core.errors import ModelError
from stream_app.model.artifact import FAMILIARITY, Artifact, load_artifact, write_card
from stream_app.model.familiarity import (
    PAIR_BITS,
    WORD_BITS,
    Familiarity,
    Known,
    load_familiarity,
    words_of,
)
from tests.tiny_model import save_tiny_albert
from training.data.corpus import Corpus, Example
from training.fitting.familiarity import fit_familiarity, write_familiarity

KNOWN = [f"word{letter}{other}" for letter in "abcdefghij" for other in "klmnopqrst"]
OWN = " ".join(KNOWN[:40])


def texts(count: int, seed: int) -> list[str]:
    """Texts of 10 to 80 of the known words, now and then one that is not known."""
    chance = np.random.default_rng(seed)
    lengths = chance.integers(10, 80, count)
    return [
        " ".join([*chance.choice(KNOWN, length), *["odd"] * int(chance.random() < 0.2)])
        for length in lengths
    ]


@pytest.fixture
def familiarity() -> Familiarity:
    return fit_familiarity(texts(2_000, seed=1))


def score(familiarity: Familiarity, text: str) -> float:
    [found] = familiarity.scores([text], [[2, 3]])
    return found


def test_its_own_texts_fall_below_a_share_as_often_as_it_says(familiarity: Familiarity) -> None:
    own = texts(4_000, seed=2)
    found = np.array(familiarity.scores(own, [[]] * len(own)))
    for share in (0.01, 0.1, 0.5):
        assert (found < share).mean() == pytest.approx(share, abs=0.6 * share)
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "worda",
        "worda wordb",
        "12345 67890 !!! 42",
        "lauter fremde Wörter in einem Satz, den das Modell nicht kennt",
        "これは日本語の文章です。モデルは知りません。",
        OWN[:40] + " pero casi todo lo que sigue no lo ha visto nunca en ningún texto",
    ],
)
def test_a_word_another_language_and_another_script_are_unfamiliar(
    familiarity: Familiarity, text: str
) -> None:
    assert score(familiarity, text) < 0.01


def test_more_known_words_never_make_it_less_familiar(familiarity: Familiarity) -> None:
    found = [score(familiarity, " ".join(KNOWN[:count])) for count in range(1, 100)]
    assert found == sorted(found)
    assert found[0] < 0.01
    assert found[-1] > 0.5


def test_repeating_a_word_makes_no_evidence(familiarity: Familiarity) -> None:
    assert score(familiarity, KNOWN[0]) == score(familiarity, f"{KNOWN[0]} " * 50)


def test_a_word_is_known_that_two_training_texts_have() -> None:
    found = fit_familiarity(["Good morning all", "good night", "Good Night!"])
    assert found.known.measure("GOOD night") == pytest.approx(3 / 23)  # and the pair of them
    assert found.known.measure("Night, good") == pytest.approx(2 / 23)
    assert found.known.measure("morning") == 0


def test_another_language_of_the_same_words_is_told_by_its_pairs(familiarity: Familiarity) -> None:
    """Half of the words of Spanish are words that English mail has, too."""
    near = fit_familiarity([*["la de no en el"] * 2, *["go to the city of a hotel"] * 100])
    assert near.known.measure("the city") > near.known.measure("no la")
    assert score(familiarity, OWN) > score(familiarity, " zz ".join(KNOWN[:40]))


def test_a_training_text_counts_by_the_words_of_the_others() -> None:
    """Else its own words would make each of them familiar, and new texts of the kind strange."""
    alone = [f"{word} {word}x" for word in KNOWN]
    found = fit_familiarity([text for text in alone for _ in range(2)])
    assert found.quantiles.max() == 0


def test_near_duplicates_know_no_more_than_one_text_does() -> None:
    """Else fifty copies of a form would make every other text strange."""
    found = fit_familiarity([OWN] * 50 + ["good night", "good morning"], [1] * 50 + [2, 3])
    assert found.known.measure("good") == pytest.approx(1 / 21)
    assert found.known.measure(OWN) == 0
    assert found.quantiles.max() == 0


def test_digits_and_signs_are_no_words_and_long_texts_are_cut() -> None:
    assert words_of("Ab ab_c 12 d3 ü") == ["ab", "ab", "c", "d", "ü"]
    assert len(words_of(" ".join(KNOWN * 10))) == 200


def test_where_words_have_no_spaces_between_them_pairs_of_letters_are_words() -> None:
    """A sentence of Chinese was one word, which no other text has: all languages were familiar."""
    words = ["房间", "间很", "很好", "ipad", "好", "大"]
    assert words_of("房间很好, iPad好 大", unspaced=True) == words
    assert words_of("ですよ", unspaced=True) == ["です", "すよ"]
    assert len(words_of("".join(map(chr, range(0x4E00, 0x9000))), unspaced=True)) == 200
    assert words_of("房间很好, iPad好 大") == ["房间很好", "ipad好", "大"]


def test_pairs_are_learnt_where_one_training_text_of_a_hundred_has_them(tmp_path: Path) -> None:
    chinese = [f"房间{first}{second}很好" for first in "大小新旧" for second in "又也更还"]
    assert not fit_familiarity([*texts(2_000, seed=1), *chinese]).known.unspaced
    both = fit_familiarity([*texts(400, seed=1), *chinese])
    folder = save_tiny_albert(tmp_path)
    both.save(folder)
    loaded = load_familiarity(load_artifact(folder))
    assert loaded is not None
    assert loaded.known.unspaced
    assert loaded.known.measure("这个房间真的很好") == pytest.approx(2 / (7 + 6 + 20))
    assert loaded.known.measure("これは日本語の文章です") == 0


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """A tiny model with a measure."""
    folder = save_tiny_albert(tmp_path)
    examples = [Example(text, ("ham",)) for text in texts(50, seed=3)]
    write_familiarity(folder, Corpus(train=examples))
    return write_card(folder, load_artifact(folder).card)


def test_the_file_comes_back_as_it_was_and_the_digest_covers_it(artifact: Artifact) -> None:
    loaded = load_familiarity(load_artifact(artifact.path))
    assert loaded is not None
    assert FAMILIARITY in artifact.card.files
    assert score(loaded, OWN) > score(loaded, "unfamiliar words")
    dataclasses.replace(loaded, known=Known(~loaded.known.words)).save(artifact.path)
    with pytest.raises(ModelError, match="does not match its digest"):
        load_artifact(artifact.path)


def test_without_training_texts_there_is_none(artifact: Artifact) -> None:
    write_familiarity(artifact.path, Corpus())
    assert load_familiarity(artifact) is None


def test_a_file_that_is_no_measure_is_refused(artifact: Artifact) -> None:
    (artifact.path / FAMILIARITY).write_bytes(b"no safetensors")
    with pytest.raises(ModelError, match="measures no familiarity"):
        load_familiarity(artifact)
    words, pairs = np.ones(1 << WORD_BITS + 1, dtype=bool), np.ones(1 << PAIR_BITS + 1, dtype=bool)
    for far in (Known(words), Known(words[:5], pairs)):
        Familiarity(far, np.zeros(3, np.float32)).save(artifact.path)
        with pytest.raises(ModelError, match="measures no familiarity"):
            load_familiarity(artifact)


@pytest.mark.parametrize(
    ("quantiles", "why"),
    [
        (np.zeros(0, np.float32), "not a row of float32"),
        (np.zeros((2, 2), np.float32), "not a row of float32"),
        (np.zeros(3, np.float64), "not a row of float32"),
        (np.array([0, np.nan, 1], np.float32), "not ascending"),
        (np.array([1, 0], np.float32), "not ascending"),
    ],
)
def test_quantiles_that_are_none_are_refused(
    quantiles: np.ndarray, why: str, artifact: Artifact
) -> None:
    Familiarity(Known(np.ones(5, dtype=bool)), quantiles).save(artifact.path)
    with pytest.raises(ModelError, match=why):
        load_familiarity(artifact)


def test_gaps_of_another_type_are_refused(artifact: Artifact) -> None:
    tensors = {"gaps": np.ones(3, np.int8), "quantiles": np.zeros(3, np.float32)}
    save_file(tensors, artifact.path / FAMILIARITY)
    with pytest.raises(ModelError, match="not bytes"):
        load_familiarity(artifact)


def test_a_measure_of_before_counts_words_alone(tmp_path: Path) -> None:
    words = np.zeros(1 << WORD_BITS, dtype=bool)
    words[7] = True
    folder = save_tiny_albert(tmp_path)
    Familiarity(Known(words), np.zeros(3, np.float32)).save(folder)
    loaded = load_familiarity(load_artifact(folder))
    assert loaded is not None
    assert (loaded.known.words == words).all()
    assert loaded.known.pairs is None
    assert dataclasses.replace(loaded.known, words=~words).measure("one two") == 2 / 22
