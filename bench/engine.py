"""Engines side by side on the built-in models' shape: messages/s, and agreement with the reference.

python bench/engine.py --shared ../shared
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stream_app.codecs import CODECS
from stream_app.core.messages import ParseSpec
from stream_app.engine.packed_cpu import PackedCpuEngine
from stream_app.engine.reference import ReferenceEngine
from stream_app.model.artifact import Artifact
from stream_app.model.preparation import prepare
from stream_app.model.references import resolve
from stream_app.model.tokenizer import Tokenizer

Ids = Sequence[Sequence[int]]
Logits = NDArray[np.float32]
ROUNDS = 3
BATCH = 64


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--shared", type=Path, default=Path("../shared"))
    arguments.add_argument("--texts", type=int, default=512)
    options = arguments.parse_args()
    data = options.shared / "data"
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, batches of {BATCH}")
    for name, texts in (("news", news(data)), ("spam", mail(data))):
        artifact = resolve(f"builtin:{name}")
        compare(artifact, Tokenizer(artifact).encode(texts[: options.texts]))


def compare(artifact: Artifact, ids: Ids) -> None:
    """Every engine in turn, a few rounds; medians and ratios to the first."""
    reference = ReferenceEngine(artifact, "cpu")
    contestants: dict[str, Callable[[Ids], Logits]] = {
        "transformers, one by one": lambda batch: np.concatenate(
            [reference.logits([text]) for text in batch]
        ),
        "reference, arrival order": reference.logits,
        "packed float32": PackedCpuEngine(artifact, torch.float32).logits,
        "packed bfloat16": PackedCpuEngine(artifact, torch.bfloat16).logits,
    }
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    answers: dict[str, Logits] = {}
    for round_number in range(ROUNDS + 1):  # the first warms up
        for name, logits in contestants.items():
            started = time.perf_counter()
            parts = [logits(ids[at : at + BATCH]) for at in range(0, len(ids), BATCH)]
            if round_number:
                rates[name].append(len(ids) / (time.perf_counter() - started))
            answers[name] = np.concatenate(parts)
    lengths = sorted(map(len, ids))
    print(
        f"\nbuiltin:{artifact.card.name}, {len(ids)} texts, median {lengths[len(ids) // 2]} tokens"
    )
    print(f"{'':26} {'messages/s':>10} {'ratio':>6} {'max |Δ logit|':>14} {'agreement':>10}")
    first, expected = next(iter(rates)), answers["reference, arrival order"]
    for name in contestants:
        rate = statistics.median(rates[name])
        ratio = rate / statistics.median(rates[first])
        apart = np.abs(answers[name] - expected).max()
        agree = (answers[name].argmax(1) == expected.argmax(1)).mean()
        print(f"{name:26} {rate:10.1f} {ratio:6.2f} {apart:14.1e} {agree:10.4f}")


def news(data: Path) -> list[str]:
    """AG test items."""
    with gzip.open(data / "news" / "agnews_test.jsonl.gz") as lines:
        return [json.loads(line)["text"] for line in lines]


def mail(data: Path) -> list[str]:
    """SpamAssassin mails, as the service prepares them."""
    how, texts = resolve("builtin:spam").card.preparation, []
    with tarfile.open(data / "spam" / "spamassassin.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None and len(texts) < 600:
                message = CODECS["rfc822"](file.read(), ParseSpec())
                texts.append(prepare(message.title, message.body, how))
    return texts


if __name__ == "__main__":
    main()
