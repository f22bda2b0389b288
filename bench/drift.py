"""How often the drift monitor cries wolf: a week of undisturbed messages, a thousand times.

`python bench/drift.py --model REF --recipe NAME --data FOLDER`. Messages are drawn, with
replacement, from the recipe's test parts, which neither the model nor its reference has seen, each
in proportion to its part of the validation texts: what the model knew, and nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stream_app.model.drift_reference import Drift, Labelled, load_drift, projected_embeddings
from stream_app.model.references import resolve
from training.data.corpus import load_corpus
from training.fitting.drift_reference import labelled, reference
from training.judging.evaluate import score
from training.judging.metrics import exact_interval
from training.recipes import load_recipe
from training.refreshing.drift_watch import WINDOWS

WINDOW = 1000
THRESHOLDS = (0.1, 0.25)


def main() -> None:
    """Print how far windows are away, and how many weeks would have called somebody."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weeks", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=100_000, help="of a week")
    options = parser.parse_args()
    artifact, corpus = (
        resolve(options.model),
        load_corpus(load_recipe(options.recipe), options.data),
    )
    known = labelled(artifact, corpus.validation, score(artifact, corpus.validation, "auto").logits)
    drift = load_drift(artifact) or Drift(
        reference(artifact, known), projected_embeddings(artifact), artifact.card.problem
    )
    pools, shares = [], []
    for source, examples in corpus.test.items():
        pools.append(labelled(artifact, examples, score(artifact, examples, "auto").logits))
        shares.append(sum(example.source == source for example in corpus.validation))
    weeks, windows = options.weeks, options.messages // WINDOW
    found = scores(drift, pools, np.array(shares) / sum(shares), weeks * windows)
    print(
        f"{artifact.card.name}: {len(known)} reference texts, {sum(map(len, pools))} to draw from"
    )
    print(f"{weeks} weeks of {windows} windows of {WINDOW}")
    print("| statistic | median | 99 % | highest |\n|---|---|---|---|")
    for name, values in found.items():
        middle, high = np.quantile(values, [0.5, 0.99])
        print(f"| {name} | {middle:.3f} | {high:.3f} | {values.max():.3f} |")
    for threshold in THRESHOLDS:
        print(verdict(found, threshold, weeks, windows))


def scores(
    drift: Drift, pools: Sequence[Sequence[Labelled]], shares: np.ndarray, windows: int
) -> dict[str, np.ndarray]:
    """Each statistic's distance [windows]."""
    chance = np.random.default_rng(1)
    found = []
    for _ in range(windows):
        counts = chance.multinomial(WINDOW, shares)
        drawn = [
            pool[row]
            for pool, count in zip(pools, counts, strict=True)
            for row in chance.integers(len(pool), size=count)
        ]
        found.append(drift.scores(drawn))
    return {name: np.array([each[name] for each in found]) for name in found[0]}


def verdict(found: dict[str, np.ndarray], threshold: float, weeks: int, windows: int) -> str:
    """Windows above a threshold, and weeks with as many in a row as a trigger waits for."""
    above = np.array([values > threshold for values in found.values()])
    rows = above.reshape(len(found), weeks, windows)
    row = np.ones_like(rows[:, :, WINDOWS - 1 :])
    for shift in range(WINDOWS):
        row &= rows[:, :, shift : windows - WINDOWS + 1 + shift]
    alarmed = int(row.any(axis=(0, 2)).sum())
    low, high = exact_interval(alarmed, weeks)
    return (
        f"above {threshold}: {int(above.any(axis=0).sum())} of {weeks * windows} windows; "
        f"false alarms in {alarmed} of {weeks} weeks (95 %: {low:.2%} to {high:.2%})"
    )


if __name__ == "__main__":
    main()
