"""What effectively once costs: the same messages in both delivery modes, by turns.

python bench/delivery.py [--shared ../shared] [--messages 20000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import tomli_w
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from stream import PARTITIONS, Bench, broker, configuration, route

MODES = ("at_least_once", "effectively_once")
ENGINES = ("fake", "auto")  # what the broker allows, and what a real model leaves of the difference


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--shared", type=Path, default=Path("../shared"))
    arguments.add_argument("--messages", type=int, default=20_000)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    with gzip.open(options.shared / "data" / "reviews" / "sst2_train.jsonl.gz", "rb") as file:
        messages = [line for line, _ in zip(file, range(options.messages), strict=False)]
    with (
        tempfile.TemporaryDirectory() as folder,
        broker("apache", options.shared, Path(folder)) as address,
    ):
        for engine in ENGINES:
            rates: dict[str, list[float]] = {mode: [] for mode in MODES}
            for number in range(options.rounds):
                for mode in MODES:
                    name = f"{engine}-{mode}-{number}"
                    rates[mode].append(run(address, Path(folder), name, engine, mode, messages))
            plain, once = (median(rates[mode]) for mode in MODES)
            print(f"engine {engine:5} at least once {plain:7.0f} messages/s, ", end="")
            print(f"effectively once {once:7.0f}: {once / plain:.2f} times")


def run(
    address: str, folder: Path, name: str, engine: str, mode: str, messages: Sequence[bytes]
) -> float:
    """Messages/s of one worker from its first label to its last."""
    config = folder / f"{name}.toml"
    reviews = route(name, "json", "builtin:reviews", delivery=mode)
    tables = configuration(address, name, reviews, engine={"backend": engine})
    config.write_text(tomli_w.dumps(tables))
    bench = Bench(address, config, folder)
    bench.run("topics", "create", "--config", str(config))
    producer = KafkaProducer(bootstrap_servers=address)
    for number, message in enumerate(messages):
        producer.send(name, message, partition=number % PARTITIONS)
    producer.close()
    with bench.worker():
        times = timestamps(address, f"{name}.labels", len(messages))
    return (len(times) - 1) / (times[-1] - times[0]) * 1000


def timestamps(address: str, topic: str, count: int) -> list[int]:
    """When each label was written, in milliseconds, sorted."""
    consumer = KafkaConsumer(bootstrap_servers=address, isolation_level="read_committed")
    tps = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer.assign(tps)
    consumer.seek_to_beginning(*tps)
    found = sorted(record.timestamp for _, record in zip(range(count), consumer, strict=False))
    consumer.close()
    return found


if __name__ == "__main__":
    main()
