"""From what was read to what can be learnt: labels in one spelling, each text once."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stream_app.core.errors import ConfigError
from stream_app.model.artifact import Problem
from stream_app.model.preparation import Preparation, prepare
from training.data.corpus import Example
from training.data.split import groups
from training.examples.languages import language
from training.examples.reading import Labelled, Reading

_log = logging.getLogger(__name__)
SOURCE = "examples"  # of all of them
LEAST = 2  # examples of a label: one to learn from, and one to see whether it was learnt
FEW = 8  # of which figures say little
_MOST_LABELS = 200
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Examples:
    """Prepared texts with clean labels, each text once; `told` counts what was left out, by why."""

    examples: Sequence[Example]
    labels: tuple[str, ...]
    problem: Problem
    told: Mapping[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Of each label."""
        found = Counter(label for example in self.examples for label in example.labels)
        return {label: found[label] for label in self.labels}

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """[texts]: a number, the same for near-duplicates, as texts are that differ in numbers."""
        return np.array(groups([_NUMBER.sub("0", example.text) for example in self.examples]))

    @property
    def different(self) -> int:
        """Texts, near-duplicates of each other counted once."""
        return len(np.unique(self.groups))

    @property
    def languages(self) -> dict[str, int]:
        """Commonest first."""
        return dict(Counter(example.language for example in self.examples).most_common())


def examples_of(
    reading: Reading, corrections: Iterable[Labelled], wanted: Sequence[str], how: Preparation
) -> Examples:
    """What a model may learn. A correction has the last word on its text.

    `wanted` are the labels to learn, all where empty. Raises ConfigError when that is no task.
    """
    told = Counter(without_text=reading.unreadable, without_label=reading.unlabelled)
    corrected = list(corrections)
    spelt = _spellings([*reading.found, *corrected], wanted)
    by_text: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for each in reading.found:
        by_text[_text(each, how)].add(_clean(each, spelt))
    told["duplicates"] = len(reading.found) - len(by_text)
    by_text |= {_text(each, how): {_clean(each, spelt)} for each in corrected}
    told["corrections"] = len(corrected)
    one = {text: next(iter(said)) for text, said in by_text.items() if text and len(said) == 1}
    told["contradicting"] = sum(len(said) > 1 for said in by_text.values())
    problem = reading.problem
    examples = [
        Example(text, labels, language(text), SOURCE)
        for text, labels in one.items()
        if labels or problem == "multi_label"
    ]
    told["of_other_labels"] = len(one) - len(examples)
    found = Examples(
        examples, _order(examples, wanted), problem, {k: v for k, v in told.items() if v}
    )
    _check(found, wanted)
    return found


def _text(each: Labelled, how: Preparation) -> str:
    return prepare(each.message.title, each.message.body, how)


def _clean(each: Labelled, spelt: Mapping[str, str]) -> tuple[str, ...]:
    """Its labels among those to learn, spelt as the most are."""
    return tuple(sorted({spelt[label] for label in each.labels if label in spelt}))


def _spellings(found: Sequence[Labelled], wanted: Sequence[str]) -> dict[str, str]:
    """What was written -> the label: spellings that differ in capitals alone are one label, spelt
    as it mostly is."""
    written = Counter(label for each in found for label in each.labels)
    if unknown := [label for label in wanted if label not in written]:
        raise ConfigError(
            f"no example has the label {unknown[0]!r} of --labels: there are {_some(written)}"
        )
    if wanted:
        return {label: label for label in wanted}
    spelt: dict[str, str] = {}
    for label, _ in sorted(written.items(), key=lambda entry: (-entry[1], entry[0])):
        spelt.setdefault(label.casefold(), label)
    for label in written:
        if spelt[label.casefold()] != label:
            _log.warning("label %r is read as %r", label, spelt[label.casefold()])
    return {label: spelt[label.casefold()] for label in written}


def _order(examples: Sequence[Example], wanted: Sequence[str]) -> tuple[str, ...]:
    return tuple(wanted) or tuple(sorted({label for each in examples for label in each.labels}))


def _check(found: Examples, wanted: Sequence[str]) -> None:
    counts = found.counts
    if len(counts) < 2:
        only = f"only the label {next(iter(counts))!r}" if counts else "no label"
        raise ConfigError(
            f"the examples have {only}: a model needs texts of two or more; if another column "
            "holds the label, say which with --label-field"
        )
    if len(counts) > _MOST_LABELS or 3 * len(counts) > 2 * sum(counts.values()):
        raise ConfigError(
            f"the examples have {len(counts)} different labels in {len(found.examples)} texts: is "
            "another column the label (--label-field)? or name those to learn with --labels"
        )
    few = {label: count for label, count in counts.items() if count < LEAST}
    if few:
        rest = ",".join(label for label in counts if label not in few)
        raise ConfigError(
            f"{_counted(few)}: a label needs {LEAST} examples, better {FEW} or more; add some, or "
            f"leave it out with --labels {rest}"
        )


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{label!r} has {count}" for label, count in counts.items())


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:20]) + (", …" if len(listed) > 20 else "")
