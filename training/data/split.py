"""Near-duplicates, and the fixed split that keeps them on one side.

The split of a corpus depends on the raw bytes of its messages alone: never on file order, a seed,
or how a codec reads them, so that a model of today and a codec of tomorrow agree on what the test
part is. A hash knows no label, so each label has its share in each part, up to chance; exact shares
would have to move messages between parts whenever the corpus grows.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Literal, TypeVar

from datasketch import MinHash, MinHashLSH

Part = Literal["train", "validation", "test"]
T = TypeVar("T")

SIMILAR = 0.7  # estimated Jaccard similarity of three-word shingles
_PERMUTATIONS = 64
_SHINGLE = 3
_MAX_WORDS = 2_000  # of a message; longer ones are mostly attachments
_WORD = re.compile(r"\w+")
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")


def parts(messages: Sequence[bytes]) -> list[Part]:
    """The part of each raw message.

    Messages whose bodies are near-duplicates, directly or through others, form a group. With k the
    smallest sha256 of a group's messages, read as a number: test when k mod 5 = 0, else validation
    when (k div 5) mod 10 = 0, else train.
    """
    return [_part(key) for key in _group_keys(messages)]


def folds(messages: Sequence[bytes], count: int) -> list[int]:
    """The fold of each raw message, 0 to `count` - 1, near-duplicates in the same one."""
    return [key // 50 % count for key in _group_keys(messages)]


def development_parts(messages: Sequence[bytes]) -> list[Part]:
    """The part of each message where none is for tests: a twentieth by sha256 is validation."""
    return ["validation" if hash_number(message) % 20 == 0 else "train" for message in messages]


def stratified(
    items: Sequence[T],
    count: int,
    stratum: Callable[[T], tuple[str, ...]],
    content: Callable[[T], bytes],
) -> list[T]:
    """At most `count` of the items: each stratum keeps its share, the smallest hashes win.

    A larger sample contains the smaller. It is ordered by rank within the strata.
    """
    by_stratum: defaultdict[tuple[str, ...], list[T]] = defaultdict(list)
    for item in sorted(items, key=lambda item: hashlib.sha256(content(item)).digest()):
        by_stratum[stratum(item)].append(item)
    # Within a stratum the n-th smallest of N hashes stands at n/N: the lowest ranks are the sample.
    ranked = [
        ((number + 0.5) / len(group), name, item)
        for name, group in by_stratum.items()
        for number, item in enumerate(group)
    ]
    ranked.sort(key=lambda entry: entry[:2])
    return [item for _, _, item in ranked[:count]]


def groups(texts: Sequence[str]) -> list[int]:
    """A number for each text, the same for near-duplicates; similarity counts through others.

    MinHash with locality-sensitive hashing: Leskovec, Rajaraman, Ullman, "Mining of Massive
    Datasets", chapter 3.
    """
    leader = list(range(len(texts)))
    index = MinHashLSH(threshold=SIMILAR, num_perm=_PERMUTATIONS)
    hashes = list(_min_hashes(texts))
    for number, min_hash in enumerate(hashes):
        for other in index.query(min_hash):
            if min_hash.jaccard(hashes[other]) >= SIMILAR:
                leader[_root(leader, other)] = _root(leader, number)
        index.insert(number, min_hash)
    return [_root(leader, number) for number in range(len(texts))]


def like_any(texts: Sequence[str], held_out: Sequence[str]) -> list[bool]:
    """For each text whether it is a near-duplicate of one of `held_out`."""
    index = MinHashLSH(threshold=SIMILAR, num_perm=_PERMUTATIONS)
    hashes = list(_min_hashes(held_out))
    for number, min_hash in enumerate(hashes):
        index.insert(number, min_hash)
    return [
        any(found.jaccard(hashes[other]) >= SIMILAR for other in index.query(found))
        for found in _min_hashes(texts)
    ]


def _group_keys(messages: Sequence[bytes]) -> list[int]:
    """For each message the smallest key in its group of near-duplicates."""
    group = groups([_body(message) for message in messages])
    keys: dict[int, int] = {}
    for number, message in zip(group, messages, strict=True):
        keys[number] = min(hash_number(message), keys.get(number, hash_number(message)))
    return [keys[number] for number in group]


def hash_number(message: bytes) -> int:
    """The sha256 of a message, as a number; it decides the message's part."""
    return int.from_bytes(hashlib.sha256(message).digest())


def _part(key: int) -> Part:
    if key % 5 == 0:
        return "test"
    return "validation" if key // 5 % 10 == 0 else "train"


def _body(message: bytes) -> str:
    head_and_body = _END_OF_HEADERS.split(message, maxsplit=1)
    return head_and_body[-1].decode("latin-1")


def _min_hashes(texts: Sequence[str]) -> Iterator[MinHash]:
    shingles = ([shingle.encode() for shingle in _shingles(text)] for text in texts)
    yield from MinHash.generator(shingles, num_perm=_PERMUTATIONS)


def _shingles(text: str) -> set[str]:
    words = [match[0] for match in islice(_WORD.finditer(text.lower()), _MAX_WORDS)]
    count = max(1, len(words) - _SHINGLE + 1)
    return {" ".join(words[start : start + _SHINGLE]) for start in range(count)}


def _root(leader: list[int], number: int) -> int:
    while leader[number] != number:
        leader[number] = number = leader[leader[number]]
    return number
