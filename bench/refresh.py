"""What the refresh loop is worth: a filter of real mail that changes, with refreshes and without.

`python -m bench.refresh --out FOLDER`. The stream is that of `mail_in_order.py`. Every message is
scored before its label is known to anybody. After every 500, readers give the right label of 1 % of
them, and the filter is refreshed by what `winnow-train refresh --head-only` does, and the gates of
`training.refreshing.gates` let it serve, or not. With the corpora (`FromCorpora`) the n-gram head
is fitted anew to a fixed budget of old texts and all corrections, then its share beside ALBERT,
then the temperature. Without them (`FromChampion`) the champion's head is moved. ALBERT's own
weights stay those fitted to Enron's oldest mail.
"""

from __future__ import annotations

import argparse
import json
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.mail_filter import LABELS, Filter, Mails, World, fitted, load_world, starts
from bench.refresh_report import Course, draw, table
from training.fitting.moved_head import Taught, moved
from training.recipe import Gates
from training.refreshing.gates import SURE, Candidate, Compared, Evidence, Opinion, judge

PERIOD = 500  # messages between two refreshes
CORRECTED = 5  # of them: 1 %
READERS = ("ada", "ben", "cleo", "dan", "eve")
BUDGET = 4_000  # texts of a refresh
RESERVOIR = 2_000  # the newest messages, which the champion labels itself
STRENGTH = 10.0  # of `moved`
REPEATED = 10  # times that a correction counts among them
LIMITS = Gates(min_new=CORRECTED)
FLOOD = 100  # corrections a period by one source that wants its spam through
WRONG = 0.1  # of the labels that bad readers give
SAME = Candidate(LABELS, 1, 1.0)  # heads of one size, and as fast


@dataclass(frozen=True, slots=True)
class Told:
    """A correction: a row of the stream, the label that somebody says is right."""

    row: int
    label: int
    who: str


Readers = Callable[[World, int, NDArray[np.float32], random.Random], list[Told]]


def at_random(
    world: World, start: int, logits: NDArray[np.float32], chance: random.Random
) -> list[Told]:
    """A random sample: `review_share`."""
    return _right(world, start, chance.sample(range(PERIOD), CORRECTED), chance)


def unsure_first(
    world: World, start: int, logits: NDArray[np.float32], chance: random.Random
) -> list[Told]:
    """Those the filter is least sure of: `review_unsure`."""
    margin = np.abs(logits[:, 1] - logits[:, 0])
    return _right(world, start, np.argsort(margin, kind="stable")[:CORRECTED].tolist(), chance)


def mistakes(
    world: World, start: int, logits: NDArray[np.float32], chance: random.Random
) -> list[Told]:
    """What people move out of the wrong folder."""
    truth = world.stream.truth[start : start + PERIOD]
    wrong = np.flatnonzero(logits.argmax(axis=1) != truth).tolist()
    return _right(world, start, chance.sample(wrong, min(CORRECTED, len(wrong))), chance)


def careless(
    world: World, start: int, logits: NDArray[np.float32], chance: random.Random
) -> list[Told]:
    """Mistakes, and one in ten labels is wrong."""
    return [
        replace(told, label=1 - told.label) if chance.random() < WRONG else told
        for told in mistakes(world, start, logits, chance)
    ]


def flooded(
    world: World, start: int, logits: NDArray[np.float32], chance: random.Random
) -> list[Told]:
    """Mistakes, and one source that says of all the spam it sees that it is ham."""
    spam = np.flatnonzero(world.stream.truth[start : start + PERIOD] == 1).tolist()
    chosen = chance.sample(spam, min(FLOOD, len(spam)))
    return mistakes(world, start, logits, chance) + [
        Told(start + row, 0, "mallory") for row in chosen
    ]


def _right(world: World, start: int, rows: Sequence[int], chance: random.Random) -> list[Told]:
    return [
        Told(start + row, int(world.stream.truth[start + row]), chance.choice(READERS))
        for row in rows
    ]


@dataclass
class Desk(ABC):
    """All corrections, and how many of them the champion has learnt from."""

    world: World
    chance: random.Random
    told: list[Told] = field(default_factory=list)
    learnt: int = 0

    @abstractmethod
    def challenger(self, champion: Filter, now: int) -> Filter:
        """The filter that all corrections make, after `now` messages of the stream."""

    @abstractmethod
    def frozen(self, champion: Filter, now: int) -> Mails:
        """What tells whether it forgot anything."""

    def evidence(self, champion: Filter, challenger: Filter, now: int) -> Evidence:
        """What the gates judge by; a fifth of the corrections is held out for it."""
        said: dict[int, set[int]] = {}
        for told in self.told:
            said.setdefault(told.row, set()).add(told.label)
        new = self.told[self.learnt :]
        opinion = _opinion(champion, self.world.stream.at(told.row for told in new))
        against = (opinion.confidence >= SURE) & (opinion.predicted != [t.label for t in new])
        return Evidence(
            frozen=_compared(champion, challenger, self.frozen(champion, now)),
            invented=_compared(champion, challenger, self.world.stream.at([])),
            held_out=_compared(champion, challenger, self._mails(0)),
            champion=SAME,
            challenger=SAME,
            sources=Counter(told.who for told in new),
            overturned=Counter(told.who for told, sure in zip(new, against, strict=True) if sure),
            corrections=len(said),
            contradicted=sum(len(labels) > 1 for labels in said.values()),
        )

    def _rows(self, *fifths: int) -> list[Told]:
        return [told for number, told in enumerate(self.told) if number % 5 in fifths]

    def _mails(self, *fifths: int) -> Mails:
        chosen = self._rows(*fifths)
        labels = np.array([told.label for told in chosen], dtype=np.int64)
        return replace(self.world.stream.at(told.row for told in chosen), truth=labels)


class FromCorpora(Desk):
    """Rehearses the mail that the first filter was fitted to."""

    def challenger(self, champion: Filter, now: int) -> Filter:
        """Three fifths of the corrections are learnt, one fits the share."""
        new = self._mails(2, 3, 4).at(list(range(len(self._rows(2, 3, 4)))) * REPEATED)
        calibrating = self._mails(1).at(list(range(len(self._rows(1)))) * REPEATED)
        room = max(0, BUDGET - len(new))
        old = self.chance.sample(range(len(self.world.train)), min(room, len(self.world.train)))
        return fitted(self.world.train.at(old) + new, self.world.validation + calibrating)

    def frozen(self, champion: Filter, now: int) -> Mails:
        """The base's test part."""
        return self.world.test


class FromChampion(Desk):
    """Rehearses what the champion is sure of among the newest messages, without any corpus."""

    def challenger(self, champion: Filter, now: int) -> Filter:
        """Three fifths of the corrections are learnt, each as often as ten texts, at most."""
        new, old = self._mails(2, 3, 4), self._believed(champion, now, (1, 2, 3, 4))
        both, times = new + old, min(REPEATED, max(1, len(old) // max(1, len(new))))
        targets = np.concatenate([np.eye(2)[new.truth], _scores(champion, old)])
        taught = Taught(
            list(both.texts),
            (both.albert + champion.head.logits(both.texts)).astype(np.float64),
            np.full(len(both), champion.temperature),
            targets,
            np.repeat([float(times), 1.0], [len(new), len(old)]),
        )
        return Filter(moved(champion.head, taught, STRENGTH), champion.temperature)

    def frozen(self, champion: Filter, now: int) -> Mails:
        """Every fifth of them, by the champion's label."""
        return self._believed(champion, now, (0,))

    def _believed(self, champion: Filter, now: int, fifths: Sequence[int]) -> Mails:
        corrected = {told.row for told in self.told}
        rows = [
            row
            for row in range(max(0, now - RESERVOIR), now)
            if row not in corrected and row % 5 in fifths
        ]
        recent = self.world.stream.at(rows)
        scores = _scores(champion, recent)
        labelled = replace(recent, truth=scores.argmax(axis=1))
        return labelled.at(np.flatnonzero(scores.max(axis=1) >= SURE).tolist())


def _compared(champion: Filter, challenger: Filter, mails: Mails) -> Compared:
    return Compared(LABELS, mails.truth, _opinion(champion, mails), _opinion(challenger, mails))


def _opinion(model: Filter, mails: Mails) -> Opinion:
    scores = _scores(model, mails)
    decided = np.ones(len(mails), dtype=np.bool_)  # the filter has no bars
    return Opinion(scores.argmax(axis=1), scores.max(axis=1), decided)


def _scores(model: Filter, mails: Mails) -> NDArray[np.float32]:
    """Probabilities [texts, labels]."""
    logits = model.logits(mails)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def refreshing(world: World, readers: Readers, how: type[Desk], gates: bool) -> Course:
    """Refreshed after every period on what readers say."""
    desk, found, champion = how(world, random.Random(1)), Course(), world.first
    for start in starts(len(world.stream), PERIOD):
        mails = world.stream.at(range(start, start + PERIOD))
        logits = champion.logits(mails)
        found.add(mails.truth, logits.argmax(axis=1))
        new = readers(world, start, logits, desk.chance)
        desk.told += new
        if not new:
            continue
        now = start + PERIOD
        challenger = desk.challenger(champion, now)
        failed = [
            gate.name
            for gate in judge(desk.evidence(champion, challenger, now), LIMITS)
            if gates and not gate.passed
        ]
        found.stopped.append(failed)
        if not failed:
            champion, desk.learnt = challenger, len(desk.told)
    return found


def unrefreshed(world: World) -> Course:
    """The first filter, for ever."""
    found = Course()
    for start in starts(len(world.stream), PERIOD):
        mails = world.stream.at(range(start, start + PERIOD))
        found.add(mails.truth, world.first.logits(mails).argmax(axis=1))
    return found


def oracle(world: World) -> Course:
    """Fitted after every period to all that came, each with its right label, and all old texts."""
    found, current = Course(), world.first
    for start in starts(len(world.stream), PERIOD):
        mails = world.stream.at(range(start, start + PERIOD))
        found.add(mails.truth, current.logits(mails).argmax(axis=1))
        seen = range(start + PERIOD)
        kept = world.stream.at(row for row in seen if row % 10)
        held = world.stream.at(row for row in seen if not row % 10)
        current = fitted(world.train + kept, world.validation + held)
    return found


ASKED: dict[str, Readers] = {
    "mistakes": mistakes,
    "unsure first": unsure_first,
    "at random": at_random,
    "10 % wrong": careless,
    "flooded": flooded,
}
WITHOUT_GATES = ("mistakes", "10 % wrong", "flooded")


def courses() -> dict[str, Callable[[World], Course]]:
    """By name, in the order of the table."""
    found: dict[str, Callable[[World], Course]] = {"without refresh": unrefreshed}
    asked = [("champion", FromChampion, *each) for each in ASKED.items()]
    asked.append(("corpora", FromCorpora, "mistakes", mistakes))
    for where, how, name, readers in asked:
        for gates in (True, False) if name in WITHOUT_GATES else (True,):
            title = f"{where}: {name}{'' if gates else ', no gates'}"
            found[title] = partial(refreshing, readers=readers, how=how, gates=gates)
    return found | {"oracle": oracle}


def main() -> None:
    """Run what was not run yet; print the table and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="../shared/models/albert-small-en")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plot", type=Path, default=Path("docs/refresh-proof.svg"))
    options = parser.parse_args()
    world = load_world(options.data, options.encoder, options.out, PERIOD)
    kept = options.out / "courses.json"
    done = json.loads(kept.read_text()) if kept.exists() else {}
    runs = courses()
    for name, run in runs.items():
        if name not in done:
            done[name] = asdict(run(world))
            kept.write_text(json.dumps(done))
    found = {name: Course(**done[name]) for name in runs}
    print(table(found, world, PERIOD))
    draw(found, world, PERIOD, options.plot)


if __name__ == "__main__":
    main()
