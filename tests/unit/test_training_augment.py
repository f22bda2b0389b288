"""Altered copies of training texts."""

from __future__ import annotations

import random

from stream_app.model.preparation import Preparation, prepare
from training.data.augment import augmented, obfuscated, shortened
from training.data.corpus import Example
from training.recipe import Augmentation

TEXT = "order your cheap viagra now and lose weight without any effort at all"
SPAM, HAM = Example(TEXT, ("spam",), "en", "a"), Example(TEXT, ("ham",), "en", "a")


def test_copies_are_the_same_for_the_same_seed_and_keep_what_is_known_of_them() -> None:
    how = Augmentation(share=0.5, drop_words=0.2, swap_words=0.2)
    found = augmented([SPAM, HAM] * 10, how, seed=1)
    assert found == augmented([SPAM, HAM] * 10, how, seed=1)
    assert found != augmented([SPAM, HAM] * 10, how, seed=2)
    assert len(found) == 10
    assert {(e.language, e.source) for e in found} == {("en", "a")}
    assert all(set(e.text.split()) <= set(TEXT.split()) for e in found)


def test_only_spam_is_obfuscated() -> None:
    how = Augmentation(obfuscate_words=0.5)
    found = augmented([SPAM, HAM], how, seed=1)
    texts = {example.label: example.text for example in found}
    assert texts["ham"] == TEXT
    assert texts["spam"] != TEXT


def test_obfuscation_survives_the_text_preparation_of_the_service() -> None:
    hidden = [obfuscated(TEXT, 1.0, random.Random(seed)) for seed in range(20)]
    assert all(prepare("", text, Preparation()).lower() != TEXT for text in hidden)
    assert all("viagra" not in text or "vi" in text for text in hidden)


def test_no_word_is_too_short_for_a_trick() -> None:
    assert all(obfuscated("a b", 1.0, random.Random(seed)) for seed in range(50))
    assert augmented([Example("a", ("spam",))], Augmentation(drop_words=0.99), 1)[0].text == "a"


def test_short_copies_are_the_start_of_a_text_or_its_title() -> None:
    mail = Example("Cheap pills\n" + TEXT, ("spam",), "en", "a")
    found = shortened([mail] * 400, 1.0, seed=1)
    assert found == shortened([mail] * 400, 1.0, seed=1)
    assert {(e.labels, e.language, e.source) for e in found} == {(("spam",), "en", "a")}
    words = mail.text.split()
    assert all(words[: len(e.text.split())] == e.text.split() for e in found)
    lengths = [len(example.text.split()) for example in found]
    assert min(lengths) == 1
    assert max(lengths) < len(words)
    assert sum(example.text == "Cheap pills" for example in found) > 80
    how = Augmentation(share=0, short_copies=1)
    assert augmented([mail] * 400, how, seed=1) == found


def test_a_text_that_is_short_already_has_no_copy() -> None:
    assert shortened([Example("hello", ("ham",))] * 20, 1.0, seed=1) == []
    assert len(shortened([SPAM] * 20, 0.0, seed=1)) == 0
