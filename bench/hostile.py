"""The dearest records of up to 10 MiB, found by search: what one costs a worker that it reaches.

`python -m bench.hostile [CODEC …]`. Each goes the whole way of the host thread: codec, preparation,
tokenizer, n-grams, familiarity. A first look at all kinds finds the dearest, a closer one the size
and mixture of each that costs most. Told are CPU seconds of the thread, the longest time that it
held the interpreter lock, and MiB beyond the record.

The lock is watched by a second thread that asks for it all the time: the CPU time that passes
between two of its turns is time in which nobody else got it, but for 0.1 ms. Each figure is the
least of three runs, for a busy machine only adds to it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.hostile_kinds import KINDS, SIZE
from stream_app.codecs import CODECS
from stream_app.core.errors import RecordError
from stream_app.core.messages import ParseSpec
from stream_app.core.settings import load_registry
from stream_app.model.encoder import Encoder
from stream_app.model.familiarity import load_familiarity
from stream_app.model.ngrams import load_head
from stream_app.model.references import resolve
from stream_app.model.tokenizer import Tokenizer

SPEC = ParseSpec({}, ("id", "a", "link", "dc:creator", "Content-Type", "Received"))
MODELS = {"rfc822": "builtin:spam", "text": "builtin:spam", "json": "builtin:reviews"}
MODELS |= {"feed": "builtin:news"}
MOST_SECONDS, MOST_LOCKED = 0.25, 0.05
SIZES, SHARES = (SIZE // 16, SIZE), (0.1, 0.6)  # of the first look
SHOWN, RUNS = 8, 3


@dataclass(frozen=True, slots=True)
class Cost:
    """What one record cost: seconds, seconds, and what came out."""

    seconds: float
    locked: float
    outcome: str

    @property
    def burden(self) -> float:
        """1 where it is as much as may be."""
        return max(self.seconds / MOST_SECONDS, self.locked / MOST_LOCKED)


@dataclass(frozen=True, slots=True)
class Place:
    """A record of the kind of that number."""

    number: int
    size: int
    share: float


@dataclass(frozen=True, slots=True)
class Worst:
    """The dearest of a kind, and what it cost."""

    name: str
    size: int
    cost: Cost
    mib: float


class Lock:
    """Watches the interpreter lock."""

    def __init__(self) -> None:
        self.longest = 0.0  # CPU seconds that passed between two turns
        self._watched = True

    @classmethod
    @contextmanager
    def watched(cls) -> Iterator[Lock]:
        """A watch while something runs on this thread."""
        lock = cls()
        watcher = threading.Thread(target=lock._watch)
        watcher.start()
        try:
            yield lock
        finally:
            lock._watched = False
            watcher.join()

    def _watch(self) -> None:
        last = time.process_time()
        while self._watched:
            time.sleep(0.0001)
            now = time.process_time()
            self.longest, last = max(self.longest, now - last), now


class Host:
    """What a route's host thread does with a record."""

    def __init__(self, codec: str) -> None:
        self._parse = CODECS[codec]
        artifact = resolve(MODELS[codec], load_registry(None))
        how = artifact.card.preparation
        familiarity = load_familiarity(artifact)
        self._encoder = Encoder(Tokenizer(artifact), how, load_head(artifact), familiarity)

    def cost(self, value: bytes, runs: int = 1) -> Cost:
        """The least of so many runs."""
        costs = [self._once(value) for _ in range(runs)]
        seconds, locked = (min(getattr(c, name) for c in costs) for name in ("seconds", "locked"))
        return Cost(seconds, locked, costs[0].outcome)

    def _once(self, value: bytes) -> Cost:
        with Lock.watched() as lock:
            start = time.thread_time()
            outcome = self._labelled(value)
            seconds = time.thread_time() - start
        return Cost(seconds, lock.longest, outcome)

    def _labelled(self, value: bytes) -> str:
        try:
            text = self._encoder.text(self._parse(value, SPEC))
        except RecordError as error:
            return error.code
        tokens = self._encoder([text])
        self._encoder.priors([text])
        self._encoder.familiarities([text], tokens)
        return "labelled"


def first_look(codec: str) -> list[Place]:
    """Of each kind the place that costs most, of a few; the dearest kind first."""
    sys.setswitchinterval(0.0001)
    host, found = Host(codec), []
    host.cost(b"Subject: warm\n\nup")
    for number, kind in enumerate(KINDS[codec]()):
        shares = SHARES if len(kind.pieces) > 1 else (1.0,)
        tried = [
            (host.cost(kind.record(size, share)), Place(number, size, share))
            for size in SIZES
            for share in shares
        ]
        found.append(max(tried, key=lambda each: each[0].burden))
        print(codec, kind.name, *found[-1], file=sys.stderr, flush=True)
    found.sort(key=lambda each: -each[0].burden)
    return [place for _, place in found]


def closer_look(codec: str, place: Place) -> Worst:
    """The dearest record near a place. In a process of its own, so that its memory is seen."""
    sys.setswitchinterval(0.0001)
    kind, host = list(KINDS[codec]())[place.number], Host(codec)
    tried = {place: host.cost(kind.record(place.size, place.share), 2)}
    for factor in (0.5, 0.75, 1.3):
        best = max(tried, key=lambda each: tried[each].burden)
        size, share = min(int(best.size * factor), SIZE), min(best.share * factor, 1.0)
        for near in (replace(best, size=size), replace(best, share=share)):
            if near not in tried and (near.share == best.share or len(kind.pieces) > 1):
                tried[near] = host.cost(kind.record(near.size, near.share), 2)
    best = max(tried, key=lambda each: tried[each].burden)
    value = kind.record(best.size, best.share)
    before = _peak_mib(reset=True)
    cost = host.cost(value, RUNS)
    return Worst(kind.name, len(value), cost, _peak_mib() - before)


def _peak_mib(reset: bool = False) -> float:
    """The most memory that this process had resident since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("codecs", nargs="*", metavar="CODEC", help="default: every one")
    options = parser.parse_args()
    limits = f"at most {MOST_SECONDS} s, {MOST_LOCKED * 1000:.0f} ms of them locked"
    print(f"| codec | kind ({limits}) | bytes | seconds | locked, ms | MiB | outcome |")
    print("|---|---|---|---|---|---|---|")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for codec in options.codecs or KINDS:
            places = pool.apply(first_look, (codec,))
            for place in places[:SHOWN]:
                _print(codec, pool.apply(closer_look, (codec, place)))


def _print(codec: str, worst: Worst) -> None:
    cost, name = worst.cost, worst.name.replace("|", "\\|")
    figures = f"{cost.seconds:.3f} | {cost.locked * 1000:.0f} | {worst.mib:.0f}"
    print(f"| {codec} | {name} | {worst.size:,} | {figures} | {cost.outcome} |", flush=True)


if __name__ == "__main__":
    main()
