"""Tables of our engine on a GPU, for README.md. `first_gpu.sh` runs them.

python bench/gpu.py parity                       every precision against transformers on the CPU
python bench/gpu.py curve --shape builtin|base   messages/s and milliseconds by tokens of a batch
python bench/gpu.py processes --processes 1,4,8  that many processes on one GPU, tokenizing too
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from machine import describe
from mix import NEWS, Mix, base_artifact, random_mix, real_mix, smoke_mix
from served import by_tokens, served

from stream_app.engine import load_engine
from stream_app.engine.budget import BUDGETS, measured_budget
from stream_app.engine.protocol import Engine
from stream_app.engine.reference import ReferenceEngine
from stream_app.model.references import BUILTIN, resolve
from stream_app.model.tokenizer import Tokenizer

PRECISIONS = ("float32", "float16", "bfloat16")


def main() -> None:
    options = parse()
    if options.what == "one":
        one_process(options)
        return
    for name, value in describe(options.device).items():
        print(f"{name:13} {value}")
    print()
    tables = {"parity": parity, "curve": curve, "processes": processes}
    for line in tables[options.what](options):
        print(line, flush=True)


def parse() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    arguments.add_argument("what", choices=("parity", "curve", "processes", "one"))
    arguments.add_argument("--device", default="cuda", help="cpu is for trying the script out")
    arguments.add_argument("--precisions", default=",".join(PRECISIONS))
    arguments.add_argument("--shape", choices=("builtin", "base"), default="builtin")
    arguments.add_argument("--model", default="builtin:news", help="for --shape builtin")
    arguments.add_argument("--shared", type=Path, default=Path("../shared"))
    arguments.add_argument("--texts", type=int, default=2000)
    arguments.add_argument("--seconds", type=float, default=2.0, help="of one measurement")
    arguments.add_argument("--processes", default="1,4,8")
    return arguments.parse_args()


def parity(options: argparse.Namespace) -> Iterator[str]:
    """How far each precision is from float32 on the CPU, on every built-in model."""
    yield "| model | precision | mean Δ logit | max Δ logit | same label |"
    yield "|---|---|---|---|---|"
    for name in BUILTIN:
        mix = texts(options, f"builtin:{name}")
        expected = ReferenceEngine(mix.artifact, "cpu").logits(mix.ids)
        for precision in options.precisions.split(","):
            engine = load_engine("packed", mix.artifact, options.device, precision)
            found = served(engine, mix.ids, options.device).logits(mix.ids)
            apart = np.abs(found - expected)
            same = (found.argmax(1) == expected.argmax(1)).mean()
            yield (
                f"| {name} | {precision} | {apart.mean():.1e} | {apart.max():.1e} | {same:.4f} |"
            )
            engine.close()


def curve(options: argparse.Namespace) -> Iterator[str]:
    """Rates by the tokens of a batch: one batch at a time, and `at_once`."""
    yield "| precision | tokens | messages/s, one at a time | at once | ms a batch | filler |"
    yield "|---|---|---|---|---|---|"
    with tempfile.TemporaryDirectory() as folder:
        mix = shaped(options, Path(folder))
        for precision in options.precisions.split(","):
            engine = load_engine("packed", mix.artifact, options.device, precision)
            engine.warm_up()
            chosen = measured_budget(engine, mix.ids[0], max(map(len, mix.ids)))
            for tokens in BUDGETS:
                batches = list(by_tokens(mix.ids, tokens))
                computed = sum(map(engine.computed_tokens, batches))
                alone = rate(engine, batches, 1, options.seconds)
                both = rate(engine, batches, engine.at_once, options.seconds)
                size = len(mix.ids) / len(batches)
                mark = " (chosen)" if tokens == chosen else ""
                yield (
                    f"| {precision} | {tokens}{mark} | {alone:.0f} | {both:.0f} | "
                    f"{1000 * size / alone:.2f} | {computed / mix.tokens - 1:.0%} |"
                )
            engine.close()


def rate(engine: Engine, batches: list[list[list[int]]], at_once: int, seconds: float) -> float:
    """Messages/s over whole rounds of the batches."""
    list(map(engine.logits, batches[:2]))
    done, started = 0, time.perf_counter()
    with ThreadPoolExecutor(at_once) as threads:
        while (elapsed := time.perf_counter() - started) < seconds or not done:
            done += sum(map(len, threads.map(engine.logits, batches)))
    return done / elapsed


def processes(options: argparse.Namespace) -> Iterator[str]:
    """Messages/s of all processes together; each has a tokenizer, an engine and a CUDA context."""
    yield "| processes | messages/s | of one |"
    yield "|---|---|---|"
    single = 0.0
    for count in map(int, options.processes.split(",")):
        total = together(options, count)
        single = single or total / count
        yield f"| {count} | {total:.0f} | {total / single:.2f} |"


def together(options: argparse.Namespace, count: int) -> float:
    """Messages/s of `count` processes, which start together once all are ready."""
    command = [sys.executable, __file__, "one", "--device", options.device]
    command += ["--model", options.model, "--shared", str(options.shared)]
    command += ["--texts", str(options.texts), "--seconds", str(options.seconds)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        for process in running:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise SystemExit("a process ended before it was ready")
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return sum(float(process.communicate()[0]) for process in running)
    finally:
        for process in running:
            process.kill()
            process.wait()


def one_process(options: argparse.Namespace) -> None:
    """Tokenize and score the texts repeatedly; print the messages/s."""
    mix = texts(options, options.model)
    tokenizer = Tokenizer(mix.artifact)
    engine = load_engine("auto", mix.artifact, options.device, threads=1)
    runner = served(engine, mix.ids, options.device)
    print("ready", flush=True)
    sys.stdin.readline()
    done, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < options.seconds or not done:
        part = mix.texts[: max(1, len(mix.texts) // 8)]
        runner.logits(tokenizer.encode(part))
        done += len(part)
    print(done / elapsed)


def texts(options: argparse.Namespace, model: str) -> Mix:
    """Real texts, or without the shared data the repository's examples."""
    artifact = resolve(model)
    if (options.shared / "data" / NEWS).exists():
        return real_mix(artifact, options.texts, options.shared / "data")
    return smoke_mix(artifact)


def shaped(options: argparse.Namespace, folder: Path) -> Mix:
    """The texts of a shape: the base shape's are random words."""
    if options.shape == "builtin":
        return texts(options, options.model)
    return random_mix(base_artifact(folder), options.texts)


if __name__ == "__main__":
    main()
