"""Our engines and the peers side by side: messages/s, share of the machine's peak, agreement.

python bench/engine.py --shape builtin|base [--device cuda] [--only openvino,compiled]

All contestants are measured in one process, in turn, over rounds; medians are compared. Peers may
sort the whole mix; ours get it as a stream brings it: in arrival order, 64 records at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contestants import Contestant, Ids, Logits, Runner, SkippedError
from machine import describe, measured_peaks
from mix import (
    NEWS,
    SMOKE_TEXTS,
    Mix,
    base_artifact,
    random_mix,
    real_mix,
    smoke_mix,
    tokenizing_ms,
)
from peers import cpu_peers, torch_peers
from served import Served, served

from stream_app.engine import load_engine
from stream_app.engine.compiled import CompiledEngine
from stream_app.engine.native_library import PRECISIONS, find_kernels
from stream_app.engine.packed_cpu import PackedCpuEngine, has_bfloat16
from stream_app.model.artifact import Artifact
from stream_app.model.references import resolve


@dataclass(frozen=True)
class Entrant:
    """A contestant that is warm, what it answered, and its rates of each round, messages/s."""

    contestant: Contestant
    runner: Runner
    answers: Logits
    rates: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    precision: str
    batching: str
    messages_per_second: float
    tokens_per_second: float
    ratio: float
    peak_share: float | None
    max_logit_difference: float
    agreement: float


def main() -> None:
    options = parse()
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        mix = choose_mix(options, Path(folder))
        report: dict[str, Any] = {
            "machine": describe(options.device),
            "mix": mix.describe(),
            "tokenizing_ms": tokenizing_ms(mix) if mix.texts else None,
        }
        peaks: dict[str, float] = {}
        wanted = chosen(contestants(options, mix, threads), options.only)
        entrants, left_out = warmed(wanted, mix.ids)
        for _ in range(1 if options.smoke else options.rounds):
            for precision, rate in measured_peaks(options.device).items():
                peaks[precision] = max(rate, peaks.get(precision, 0.0))
            run_round(entrants, mix.ids, options.device)
        rows = table(entrants, mix, peaks)
    report |= {"peaks": peaks, "rows": [asdict(row) for row in rows], "left_out": left_out}
    show(report, rows)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def parse() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    arguments.add_argument("--shape", choices=("builtin", "base"), default="builtin")
    arguments.add_argument("--model", default="builtin:news", help="for --shape builtin")
    arguments.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments.add_argument("--shared", type=Path, default=Path("../shared"))
    arguments.add_argument("--texts", type=int, default=256)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--only", default="", help="parts of names, besides the base of ratios")
    arguments.add_argument("--smoke", action="store_true", help="few short texts, no peers")
    arguments.add_argument("--json", type=Path, help="write the figures there, too")
    return arguments.parse_args()


def choose_mix(options: argparse.Namespace, folder: Path) -> Mix:
    """The model and the texts that were asked for; random ones where there are none."""
    if options.shape == "base":
        return random_mix(base_artifact(folder), SMOKE_TEXTS if options.smoke else options.texts)
    artifact, data = resolve(options.model), options.shared / "data"
    if options.smoke:
        return smoke_mix(artifact)
    if (data / NEWS).exists():
        return real_mix(artifact, options.texts, data)
    return random_mix(artifact, options.texts)


def contestants(options: argparse.Namespace, mix: Mix, threads: int) -> Iterator[Contestant]:
    """All there are on the device; the first is the base of the ratios, and the reference."""
    peers = list(torch_peers(mix.artifact, options.device))
    yield from peers[:1] if options.smoke else peers
    if options.device == "cuda":
        print("CPU peers are skipped on cuda", file=sys.stderr)
        for precision in ("bfloat16", "float16"):
            yield Contestant("packed", precision, partial(on_cuda, mix, precision))
        return
    if not options.smoke:
        yield from cpu_peers(mix.artifact, mix.ids, threads)
    yield from ours(mix.artifact, threads)


def on_cuda(mix: Mix, precision: str) -> Runner:
    """Our engine on the GPU."""
    return served(load_engine("packed", mix.artifact, "cuda", precision), mix.ids, "cuda")


def ours(artifact: Artifact, threads: int) -> Iterator[Contestant]:
    """The engines a CPU can load."""

    def packed(precision: str) -> Runner:
        return Served(PackedCpuEngine(artifact, getattr(torch, precision)))

    def compiled(precision: str) -> Runner:
        return Served(CompiledEngine(artifact, kernels[0], precision, threads))

    for precision in ("float32", "bfloat16") if has_bfloat16() else ("float32",):
        yield Contestant("packed", precision, partial(packed, precision))
    kernels = find_kernels()
    for precision in PRECISIONS:
        if kernels and kernels[0].kernel(precision):
            yield Contestant("compiled", precision, partial(compiled, precision))


def chosen(all_of_them: Iterator[Contestant], only: str) -> list[Contestant]:
    """The base, and those with one of the comma-separated parts in their names."""
    base, *others = all_of_them
    parts = only.lower().split(",")
    return [base, *(c for c in others if any(part in title(c).lower() for part in parts))]


def title(contestant: Contestant) -> str:
    """Its name in lists."""
    return f"{contestant.name} {contestant.precision}"


def warmed(wanted: Sequence[Contestant], ids: Ids) -> tuple[list[Entrant], list[str]]:
    """Each one ready, after a pass over the mix; a line for each that cannot take part."""
    entrants: list[Entrant] = []
    left_out: list[str] = []
    for contestant in wanted:
        print(f"warming up {title(contestant)}", file=sys.stderr, flush=True)
        try:
            with redirect_stdout(sys.stderr):  # exporters are talkative
                runner = contestant.build()
                entrants.append(Entrant(contestant, runner, runner.logits(ids)))
        except ModuleNotFoundError as error:
            left_out.append(
                f"skipped: {title(contestant)}: no {error.name} "
                '(pip install "winnow-stream[bench]")'
            )
        except SkippedError as error:
            left_out.append(f"skipped: {title(contestant)}: {error}")
        except Exception as error:  # whatever a peer raises; the others go on
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            left_out.append(f"failed: {title(contestant)}: {first}")
    return entrants, left_out


def run_round(entrants: Sequence[Entrant], ids: Ids, device: str) -> None:
    """Everyone once over the whole mix."""
    for entrant in entrants:
        started = time.perf_counter()
        entrant.runner.logits(ids)
        if device == "cuda":
            torch.cuda.synchronize()
        entrant.rates.append(len(ids) / (time.perf_counter() - started))


def table(entrants: Sequence[Entrant], mix: Mix, peaks: Mapping[str, float]) -> list[Row]:
    """Medians, and everyone against the first."""
    base = entrants[0]
    rows = []
    for entrant in entrants:
        rate = statistics.median(entrant.rates)
        precision = entrant.contestant.precision
        peak = peaks.get(precision.split()[0])
        apart = np.abs(entrant.answers - base.answers).max()
        agree = (entrant.answers.argmax(1) == base.answers.argmax(1)).mean()
        rows.append(
            Row(
                name=entrant.contestant.name,
                precision=precision,
                batching=entrant.runner.batching,
                messages_per_second=rate,
                tokens_per_second=rate * mix.tokens / len(mix.ids),
                ratio=rate / statistics.median(base.rates),
                peak_share=rate / len(mix.ids) * mix.layer_flops / peak if peak else None,
                max_logit_difference=float(apart),
                agreement=float(agree),
            )
        )
    return rows


def show(report: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """The table, under what it was measured on."""
    for part in ("machine", "mix"):
        for name, value in report[part].items():
            print(f"{name:13} {value}")
    peaks = ", ".join(f"{name} {rate / 1e12:.2f}" for name, rate in report["peaks"].items())
    print(f"{'peak, Tflop/s':13} {peaks}\n")
    print(
        f"{'':15} {'precision':13} {'batches':36} {'messages/s':>10} {'tokens/s':>9} {'ratio':>6} "
        f"{'of peak':>7} {'max |Δ logit|':>13} {'agreement':>9}"
    )
    for row in rows:
        share = "-" if row.peak_share is None else f"{row.peak_share:.0%}"
        print(
            f"{row.name:15} {row.precision:13} {row.batching:36} {row.messages_per_second:10.1f} "
            f"{row.tokens_per_second:9.0f} {row.ratio:6.2f} {share:>7} "
            f"{row.max_logit_difference:13.1e} {row.agreement:9.4f}"
        )
    if report["tokenizing_ms"] is not None:
        print(f"\ntokenizing: {report['tokenizing_ms']:.3f} ms a message")
    print("\n".join(["", *report["left_out"]]))


if __name__ == "__main__":
    main()
