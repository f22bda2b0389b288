"""The split never moves, and near-duplicates never part."""

from __future__ import annotations

import random
from collections import Counter

from training.data.split import SIMILAR, development_parts, groups, like_any, parts

WORDS = [f"word{number}" for number in range(400)]

FIXED_TEST = [2, 12, 15, 16, 20, 22, 23, 28, 29]
FIXED_VALIDATION = [5, 30]


def text(seed: int, length: int = 80) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=length))


def mail(seed: int, subject: str = "", ending: str = "") -> bytes:
    return f"Subject: {subject}\r\n\r\n{text(seed)}{ending}".encode()


def test_the_split_of_known_messages_is_what_it_always_was() -> None:
    found = parts([mail(seed) for seed in range(40)])
    assert [number for number, part in enumerate(found) if part == "test"] == FIXED_TEST
    assert [number for number, part in enumerate(found) if part == "validation"] == FIXED_VALIDATION


def test_a_fifth_is_for_tests_and_a_tenth_of_the_rest_for_validation() -> None:
    count = Counter(parts([mail(seed) for seed in range(2_000)]))
    assert 330 < count["test"] < 470
    assert 110 < count["validation"] < 210


def test_the_split_depends_on_neither_order_nor_neighbours() -> None:
    messages = [mail(seed) for seed in range(100)]
    there = dict(zip(messages, parts(messages), strict=True))
    shuffled = random.Random(1).sample(messages, 60)
    assert parts(shuffled) == [there[message] for message in shuffled]


def test_near_duplicates_are_on_one_side_whatever_their_headers() -> None:
    for seed in range(50):
        same = [mail(seed, f"copy {n}", f" and {n} things" * (n > 0)) for n in range(5)]
        assert len(set(parts(same))) == 1


def test_groups_join_through_others() -> None:
    first = text(1, 100).split()
    # Each text drops five more words at the end: neighbours are alike, the ends are not.
    chain = [" ".join(first[: 100 - 5 * step]) for step in range(10)]
    assert not like_any([chain[-1]], [chain[0]])[0]
    assert len(set(groups(chain))) == 1
    assert len(set(groups([*chain, text(2)]))) == 2


def test_like_any_finds_copies_and_nothing_else() -> None:
    held_out = [text(seed) for seed in range(20)]
    assert like_any([held_out[3].upper(), text(99), "", held_out[7] + " more"], held_out) == [
        True,
        False,
        False,
        True,
    ]
    assert 0 < SIMILAR < 1


def test_development_files_have_no_test_part() -> None:
    count = Counter(development_parts([mail(seed) for seed in range(1_000)]))
    assert set(count) == {"train", "validation"}
    assert 20 < count["validation"] < 90
