"""The dearest records of up to 10 MiB, found by search: what one costs a worker that it reaches.

`python -m bench.hostile [CODEC …]`. Each goes the whole way of the host thread: codec, preparation,
tokenizer, n-grams. Of each kind the size and mixture is searched for that takes longest. Told are
CPU seconds of the thread, the longest that it held the interpreter lock, and MiB beyond the record.

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
from dataclasses import dataclass
from pathlib import Path

from bench.hostile_kinds import KINDS, SIZE, Kind
from stream_app.codecs import CODECS
from stream_app.core.errors import RecordError
from stream_app.core.messages import ParseSpec
from stream_app.core.settings import load_registry
from stream_app.model.encoder import Encoder
from stream_app.model.ngrams import load_head
from stream_app.model.references import resolve
from stream_app.model.tokenizer import Tokenizer

SPEC = ParseSpec({}, ("id", "a", "link", "dc:creator", "Content-Type", "Received"))
MODELS = {"rfc822": "builtin:spam", "text": "builtin:spam", "json": "builtin:reviews"}
MODELS |= {"feed": "builtin:news"}
MOST_SECONDS, MOST_LOCKED = 0.25, 0.05
SIZES = (SIZE // 128, SIZE // 8, SIZE)
SHARES = (0.02, 0.3, 0.9)
ROUNDS = 2  # of looking closer
RUNS = 3


@dataclass(frozen=True, slots=True)
class Cost:
    """What one record cost: seconds, seconds, and what came out."""

    seconds: float
    locked: float
    outcome: str


@dataclass(frozen=True, slots=True)
class Worst:
    """The dearest of a kind, and what it cost."""

    name: str
    size: int
    share: float
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
        self._encoder = Encoder(Tokenizer(artifact), how, load_head(artifact))

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
        self._encoder([text])
        self._encoder.priors([text])
        return "labelled"


def worst(number: int) -> Worst:
    """The dearest record of the kind of that number. In a process of its own, forked from here."""
    sys.setswitchinterval(0.0001)
    kind, host = _kinds[number], _hosts[0]
    host.cost(b"Subject: warm\n\nup")
    size, share = _search(kind, host)
    value = kind.record(size, share)
    before = _peak_mib(reset=True)
    cost = host.cost(value, RUNS)
    return Worst(kind.name, size, share, cost, _peak_mib() - before)


def _peak_mib(reset: bool = False) -> float:
    """The most memory that this process had resident since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _search(kind: Kind, host: Host) -> tuple[int, float]:
    """Size and share of the record that costs most, of a grid and then nearer to its best."""
    mixed = len(kind.pieces) > 1
    tried: dict[tuple[int, float], float] = {}

    def attempt(size: int, share: float) -> None:
        place = min(max(size, 64), SIZE), min(max(share, 0.0), 1.0) if mixed else 1.0
        if place not in tried:
            cost = host.cost(kind.record(*place))
            tried[place] = max(cost.seconds / MOST_SECONDS, cost.locked / MOST_LOCKED)

    for size in SIZES:
        for share in SHARES:
            attempt(size, share)
    for step in range(1, ROUNDS + 1):
        size, share = max(tried, key=lambda place: tried[place])
        for factor in (0.5, 2.0):
            attempt(int(size * factor ** (1 / step)), share)
            attempt(size, share * factor)
    return max(tried, key=lambda place: tried[place])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="every kind, not the ten worst")
    parser.add_argument("codecs", nargs="*", metavar="CODEC", help="default: every one")
    options = parser.parse_args()
    context = multiprocessing.get_context("fork")
    for codec in options.codecs or KINDS:
        _kinds[:], _hosts[:] = KINDS[codec](), [Host(codec)]
        found = []
        for number in range(len(_kinds)):
            with context.Pool(1) as pool:  # so that its memory is its own
                found.append(pool.apply(worst, (number,)))
            print(f"{codec} {number + 1}/{len(_kinds)}: {found[-1]}", file=sys.stderr, flush=True)
        _print(codec, found, len(found) if options.all else 10)


# what a child finds here as it was when it was forked: neither can be sent to it
_kinds: list[Kind] = []
_hosts: list[Host] = []


def _print(codec: str, found: list[Worst], shown: int) -> None:
    over = [w for w in found if w.cost.seconds > MOST_SECONDS or w.cost.locked > MOST_LOCKED]
    limits = f"{MOST_SECONDS} s or {MOST_LOCKED} s locked"
    print(f"\n{codec}: {len(found)} kinds; {len(over)} over {limits}")
    print("| kind | bytes | seconds | locked, ms | MiB | outcome |\n|---|---|---|---|---|---|")
    by_seconds = sorted(found, key=lambda w: -w.cost.seconds)[:shown]
    by_lock = sorted(found, key=lambda w: -w.cost.locked)[: shown // 3]
    for w in dict.fromkeys((*by_seconds, *by_lock)):
        name = w.name.replace("|", "\\|")
        cost, milliseconds = w.cost, w.cost.locked * 1000
        print(
            f"| {name} | {w.size:,} | {cost.seconds:.3f} | {milliseconds:.0f} | {w.mib:.0f} "
            f"| {cost.outcome} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
