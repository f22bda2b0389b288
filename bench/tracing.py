"""What traces cost: the same messages through a built-in model's worker, off, at 1 % and at 100 %.

python bench/tracing.py [--shared ../shared] [--messages 20000] [--rounds 5] [--broker tansu]

By turns in one run: what counts is the ratio to the worker without traces beside it: of the rate,
and of the CPU time where others use the machine. Records come without a context of their own, so
the worker decides which are sampled, and begins their traces.
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

import tomli_w
from delivery import timestamps
from kafka import KafkaProducer
from machine import cpu_seconds
from stream import PARTITIONS, Bench, broker, configuration, route

SHARES = ("off", "0.01", "1")


@dataclass(frozen=True)
class Cost:
    """Of a worker: messages/s, and seconds of CPU time for all of them."""

    rate: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.rate:.0f}/s, {self.seconds:.1f} s"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--shared", type=Path, default=Path("../shared"))
    arguments.add_argument("--messages", type=int, default=20_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--broker", default="tansu", help="tansu, apache or HOST:PORT")
    options = arguments.parse_args()
    with gzip.open(options.shared / "data" / "reviews" / "sst2_train.jsonl.gz", "rb") as file:
        messages = [line for line, _ in zip(file, range(options.messages), strict=False)]
    found: dict[str, list[Cost]] = {share: [] for share in SHARES}
    with (
        tempfile.TemporaryDirectory() as folder,
        broker(options.broker, options.shared, Path(folder)) as address,
        collector() as url,
    ):
        for number in range(options.rounds):
            for share in SHARES[number % 3 :] + SHARES[: number % 3]:
                name = f"r{number}-{share.replace('.', '-')}"
                traced = {} if share == "off" else variables(url, share)
                found[share].append(run(address, Path(folder), name, messages, traced))
            print(
                f"round {number}", *(f"{share}: {c[-1]}" for share, c in found.items()), flush=True
            )
    show(found)


def show(found: Mapping[str, Sequence[Cost]]) -> None:
    """Medians of the ratios of pairs, and their range."""
    for share in SHARES[1:]:
        pairs = list(zip(found[share], found["off"], strict=True))
        rates = [traced.rate / off.rate for traced, off in pairs]
        times = [traced.seconds / off.seconds for traced, off in pairs]
        for what, ratios in {"rate": rates, "CPU time": times}.items():
            least, most = min(ratios), max(ratios)
            print(f"{share:>4} of records: {what} {median(ratios):.3f} ({least:.3f} to {most:.3f})")


def variables(url: str, share: str) -> dict[str, str]:
    """What turns traces on."""
    return {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": share,
    }


def run(
    address: str, folder: Path, name: str, messages: Sequence[bytes], traced: Mapping[str, str]
) -> Cost:
    """Of one worker: its rate from its first label to its last, its CPU time from its start on."""
    config = folder / f"{name}.toml"
    config.write_text(
        tomli_w.dumps(configuration(address, name, route(name, "json", "builtin:reviews")))
    )
    bench = Bench(address, config, folder)
    bench.run("topics", "create", "--config", str(config))
    producer = KafkaProducer(bootstrap_servers=address)
    for number, message in enumerate(messages):
        producer.send(name, message, partition=number % PARTITIONS)
    producer.close()
    with bench.worker(**traced) as worker:
        started = cpu_seconds(worker.pid)
        times = timestamps(address, f"{name}.labels", len(messages))
        seconds = cpu_seconds(worker.pid) - started
    return Cost((len(times) - 1) / (times[-1] - times[0]) * 1000, seconds)


@contextmanager
def collector() -> Iterator[str]:
    """The address of a collector that takes everything and keeps nothing."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


if __name__ == "__main__":
    main()
