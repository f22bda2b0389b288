"""Altered copies of training texts: cut short, or words dropped, swapped or obfuscated.

Dropping and swapping: Wei and Zou, "EDA: Easy Data Augmentation", 2019, section 2. No kept library
knows the tricks of spam, which are those of the SpamAssassin rules for obfuscated words.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from training.data.corpus import Example
from training.recipe import Augmentation, Recipe

# what a reader takes for the letter: digits and signs, Cyrillic and Greek, accents
_LOOK_ALIKES = {
    "a": "4@аàá",
    "b": "8ß",
    "c": "сç(",
    "e": "3еéë",
    "g": "9",
    "i": "1!íіï",
    "l": "1|",
    "o": "0оóö",
    "p": "р",
    "s": "5$ѕ",
    "t": "7+",
    "u": "υúü",
    "x": "х",
    "y": "уý",
}
_BETWEEN = ".-_*'"
_MOST_WORDS = 32  # of a text cut short
_CUTS = 4  # of a text that is judged: of one each, a calibration error of 0.03 could be chance
_TITLES = 0.25  # of those are the first line


def with_copies(recipe: Recipe, examples: Sequence[Example]) -> list[Example]:
    """The training examples, and the copies of them that the recipe wants."""
    if recipe.augmentation is None:
        return list(examples)
    return [*examples, *augmented(examples, recipe.augmentation, recipe.hyper.seed)]


def augmented(examples: Sequence[Example], how: Augmentation, seed: int) -> list[Example]:
    """Altered copies of a share of the examples, and of a share copies cut short; the same for the
    same seed."""
    chance = random.Random(seed)
    count = round(how.share * len(examples))
    altered = [_altered(example, how, chance) for example in chance.sample(list(examples), count)]
    return altered + shortened(examples, how.short_copies, seed)


def shortened(examples: Sequence[Example], share: float, seed: int) -> list[Example]:
    """Copies of a share of the examples that keep the title or the first words, of which there are
    1 to 32, few as often as many; the same for the same seed.

    A text that is as short already has no copy.
    """
    chance = random.Random(seed)
    count = round(share * len(examples))
    chosen = ((ex, _start(ex.text, chance)) for ex in chance.sample(list(examples), count))
    return [replace(example, text=text) for example, text in chosen if text != example.text]


def cuts(examples: Sequence[Example]) -> list[Example]:
    """Copies of the examples cut short, each at several places."""
    return [cut for seed in range(1, 1 + _CUTS) for cut in shortened(examples, 1, seed)]


def obfuscated(text: str, share: float, chance: random.Random) -> str:
    """The text with so many of its words hidden from a filter, not from a reader."""
    return " ".join(
        chance.choice(_TRICKS)(word, chance) if chance.random() < share else word
        for word in text.split(" ")
    )


def _altered(example: Example, how: Augmentation, chance: random.Random) -> Example:
    words = [word for word in example.text.split(" ") if chance.random() >= how.drop_words]
    for _ in range(round(how.swap_words * len(words) / 2)):
        one, other = chance.randrange(len(words)), chance.randrange(len(words))
        words[one], words[other] = words[other], words[one]
    text = " ".join(words)
    if set(example.labels) & set(how.obfuscate_labels):
        text = obfuscated(text, how.obfuscate_words, chance)
    return replace(example, text=text or example.text)


def _start(text: str, chance: random.Random) -> str:
    """The first line, which in a mail is its subject, or some of the first words."""
    if chance.random() < _TITLES:
        return text.partition("\n")[0]
    words, count = text.split(), round(_MOST_WORDS ** chance.random())
    return " ".join(words[:count]) if count < len(words) else text


def _look_alike(word: str, chance: random.Random) -> str:
    """viagra -> v1agrа"""
    letters = [
        chance.choice(_LOOK_ALIKES[letter.lower()])
        if letter.lower() in _LOOK_ALIKES and chance.random() < 0.5
        else letter
        for letter in word
    ]
    return "".join(letters)


def _spaced(word: str, chance: random.Random) -> str:
    """viagra -> v i a g r a"""
    return " ".join(word)


def _separated(word: str, chance: random.Random) -> str:
    """viagra -> v.i.a.g.r.a"""
    return chance.choice(_BETWEEN).join(word)


def _split(word: str, chance: random.Random) -> str:
    """viagra -> via gra"""
    at = chance.randint(1, max(1, len(word) - 1))
    return f"{word[:at]} {word[at:]}".strip()


def _misspelt(word: str, chance: random.Random) -> str:
    """viagra -> viaagra, or vigara: a letter doubled, or two in the middle changed about"""
    if len(word) < 4:
        return word
    at = chance.randint(1, len(word) - 3)
    if chance.random() < 0.5:
        return word[:at] + word[at] + word[at:]
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


_TRICKS: Sequence[Callable[[str, random.Random], str]] = (
    _look_alike,
    _spaced,
    _separated,
    _split,
    _misspelt,
)
