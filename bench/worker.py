"""What a worker adds to its engine: the same messages through the engine alone, and on a stream.

python bench/worker.py --shape builtin|base [--broker apache] [--device cuda]

Both in turn, over rounds: the engine gets token ids in batches, as the service hands them over;
the worker has everything to do, from Kafka to Kafka, on the same cores as its broker.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import tomli_w
from contestants import Runner
from kafka import KafkaProducer
from machine import describe
from mix import Mix, base_artifact, real_mix
from served import served
from stream import PARTITIONS, Bench, broker, configuration, route

from stream_app.engine import load_engine
from stream_app.model.artifact import Artifact
from stream_app.model.references import resolve
from stream_app.model.tokenizer import Tokenizer

WARM_UP = 0.2  # of the labels: the worker still joins its group, and Python warms up


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    arguments.add_argument("--shape", choices=("builtin", "base"), default="builtin")
    arguments.add_argument("--model", default="builtin:news", help="for --shape builtin")
    arguments.add_argument("--precision", default="auto")
    arguments.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of both")
    arguments.add_argument("--broker", default="tansu", help="tansu, apache or HOST:PORT")
    arguments.add_argument("--shared", type=Path, default=Path("../shared"))
    arguments.add_argument("--texts", type=int, default=2000)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        artifact = _artifact(options, folder / "model")
        mix = real_mix(artifact, options.texts, options.shared / "data")
        # cut where the worker cuts them, which is not where the other benchmark does
        mix = replace(mix, ids=Tokenizer(artifact).encode(mix.texts))
        address = stack.enter_context(broker(options.broker, options.shared, folder))
        engine = load_engine("auto", artifact, options.device, options.precision)
        alone = served(engine, mix.ids, options.device)
        rates: dict[str, list[float]] = {"engine": [], "worker": []}
        for number in range(options.rounds):
            rates["engine"].append(_engine_rate(alone, mix))
            topic = f"round{number}"
            texts = route(topic, "text", str(artifact.path))
            how = {"precision": options.precision, "device": options.device}
            tables = configuration(address, topic, texts, engine=how)
            file = folder / "winnow.toml"
            file.write_text(tomli_w.dumps(tables))
            bench = Bench(address, file, folder)
            rates["worker"].append(_worker_rate(bench, topic, mix))
            print(
                f"round {number}", *(f"{n} {r[-1]:.1f}" for n, r in rates.items()), file=sys.stderr
            )
    show(mix, rates, options.device)


def _artifact(options: argparse.Namespace, folder: Path) -> Artifact:
    if options.shape == "builtin":
        return resolve(options.model)
    folder.mkdir()
    return base_artifact(folder)


def _engine_rate(alone: Runner, mix: Mix) -> float:
    started = time.perf_counter()
    alone.logits(mix.ids)
    return len(mix.ids) / (time.perf_counter() - started)


def _worker_rate(bench: Bench, topic: str, mix: Mix) -> float:
    """Labels/s of a worker that finds every message waiting."""
    bench.run("topics", "create", "--config", str(bench.config))
    producer = KafkaProducer(bootstrap_servers=bench.address)
    for number, text in enumerate(mix.texts):
        producer.send(topic, text.encode(), partition=number % PARTITIONS)
    producer.flush()
    producer.close()
    with bench.worker():
        labels = bench.labels(topic, len(mix.texts))
    first = int(len(labels) * WARM_UP)
    return (len(labels) - 1 - first) / (labels[-1][0] - labels[first][0]) * 1000


def show(mix: Mix, rates: dict[str, list[float]], device: str) -> None:
    """Medians, and what share of the engine's rate the worker keeps."""
    for part in (describe(device), mix.describe()):
        for name, value in part.items():
            print(f"{name:13} {value}")
    print(f"{'threads':13} {len(os.sched_getaffinity(0))}\n")
    engine, worker = (statistics.median(rates[name]) for name in ("engine", "worker"))
    shares = [w / e for e, w in zip(rates["engine"], rates["worker"], strict=True)]
    print(f"engine alone  {engine:8.1f} messages/s")
    print(f"worker        {worker:8.1f} messages/s")
    print(
        f"share         {statistics.median(shares):8.3f} ({min(shares):.3f} to {max(shares):.3f})"
    )


if __name__ == "__main__":
    main()
