"""Whole streams by turns on one Apache Kafka: Winnow, plain Faust and Quix Streams.

python bench/stream_peers.py [--messages 1200] [--rounds 2] [--only faust] [--json FILE]

The same raw mails and the same ALBERT, one process each: how fast a backlog is labelled, how late
at half of that, how much memory it takes, and what is lost or repeated after a SIGKILL and with
a poison record. How the peers are written is in `bench/streams/`.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import statistics
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tomli_w
from machine import describe
from stream import ARCHIVE, Bench, broker, configuration, route
from streams.apps import App, all_apps, write_model
from streams.losses import Account, killed, poisoned
from streams.speed import PATIENCE_SECONDS, Drain, Mail, Paced, drain, p99

PACKAGES = ("torch", "transformers", "faust-streaming", "quixstreams", "onnxruntime")
LOSS_MAILS = 192
SEED = 20


@dataclass
class Entrant:
    """An app, and what has been measured of it so far."""

    app: App
    drains: list[Drain] = field(default_factory=list)
    paced: Paced | None = None
    killed: Account | None = None
    poisoned: Account | None = None

    @property
    def rate(self) -> float:
        """Mails/s, the median of its backlogs."""
        return statistics.median(one.rate for one in self.drains)

    @property
    def peak_mib(self) -> float:
        """The most memory it ever held."""
        return max(one.mib for one in (*self.drains, self.paced) if one)


@dataclass(frozen=True)
class Contest:
    """What is done with each of them."""

    bench: Bench
    mails: Sequence[Mail]
    seconds: float  # at most, of a measurement

    def drain(self, entrant: Entrant) -> Drain:
        """Another backlog."""
        topic = entrant.app.topic(f"drain{len(entrant.drains)}")
        entrant.drains.append(drain(self.bench, entrant.app, topic, self.mails, self.seconds))
        return entrant.drains[-1]

    def pace(self, entrant: Entrant) -> Paced:
        """Half of what it can do."""
        app, half = entrant.app, entrant.rate / 2
        entrant.paced = p99(self.bench, app, app.topic("paced"), self.mails, half, self.seconds)
        return entrant.paced

    def lose(self, entrant: Entrant) -> tuple[Account, Account]:
        """A SIGKILL, and a poison record."""
        app, some = entrant.app, self.mails[:LOSS_MAILS]
        entrant.killed = killed(self.bench, app, app.topic("killed"), some)
        entrant.poisoned = poisoned(self.bench, app, app.topic("poisoned"), some)
        return entrant.killed, entrant.poisoned


def main() -> None:
    options = parse()
    logging.getLogger("kafka").setLevel(logging.ERROR)  # the exporter turns all logging on
    mails = some_mails(options.shared / "data" / ARCHIVE, options.messages)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        address = stack.enter_context(broker("apache", options.shared, folder))
        apps, left_out = chosen(all_apps(address, folder), options.only)
        write_model(folder / "model", any(app.needs for app in apps))
        bench = prepared(address, folder, apps, options.rounds)
        entrants = [Entrant(app) for app in apps]
        hold(Contest(bench, mails, options.seconds), entrants, options)
    report = {
        "machine": describe("cpu", PACKAGES),
        "mails": f"{len(mails)}, SpamAssassin",
        "rows": rows(entrants),
        "left_out": left_out,
    }
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def parse() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    arguments.add_argument("--shared", type=Path, default=Path("../shared"))
    arguments.add_argument("--messages", type=int, default=1200, help="of a backlog")
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--seconds", type=float, default=20, help="at most, of a measurement")
    arguments.add_argument("--only", default="", help="parts of names, besides Winnow")
    arguments.add_argument("--json", type=Path, help="write the figures there, too")
    arguments.add_argument("--smoke", action="store_true", help="few mails, all at once")
    options = arguments.parse_args()
    if options.smoke:
        options.messages, options.rounds, options.seconds = 16, 1, PATIENCE_SECONDS
    return options


def some_mails(archive: Path, count: int) -> list[Mail]:
    """From all over the archive, in random order."""
    with tarfile.open(archive) as opened:
        members = [member for member in opened if member.isfile()]
        step = max(1, len(members) // count)
        files = [(opened.extractfile(member), member) for member in members[::step][:count]]
        mails = [Mail(file.read(), member.name.split("/")[0]) for file, member in files if file]
    random.Random(SEED).shuffle(mails)
    return mails


def chosen(apps: Sequence[App], only: str) -> tuple[list[App], list[str]]:
    """Winnow and those asked for; a line for each that cannot take part."""
    parts = only.lower().split(",")
    first, *peers = apps
    wanted = [app for app in peers if any(part in app.name.lower() for part in parts)]
    left_out = [
        f'skipped: {app.name}: no {app.missing} (pip install "winnow-stream[bench]")'
        for app in wanted
        if app.missing
    ]
    return [first, *(app for app in wanted if not app.missing)], left_out


def prepared(address: str, folder: Path, apps: Sequence[App], rounds: int) -> Bench:
    """All topics, and a worker's configuration for each."""
    phases = [*(f"drain{number}" for number in range(rounds)), "paced", "killed", "poisoned"]
    routes = [route(app.topic(phase), "rfc822", "builtin:spam") for app in apps for phase in phases]
    for one in routes:
        tables = configuration(address, one["name"], one)
        (folder / f"{one['name']}.toml").write_text(tomli_w.dumps(tables))
    config = folder / "winnow.toml"
    config.write_text(tomli_w.dumps(configuration(address, "all", *routes)))
    bench = Bench(address, config, folder)
    bench.run("topics", "create", "--config", str(config))
    return bench


def hold(contest: Contest, entrants: Sequence[Entrant], options: argparse.Namespace) -> None:
    """Everyone by turns; at the same time only where no clock counts."""
    if options.smoke:
        everyone(contest.drain, entrants, at_once=True)
        return
    for _ in range(options.rounds):
        everyone(contest.drain, entrants)
    everyone(contest.pace, entrants)
    everyone(contest.lose, entrants, at_once=True)


def everyone(
    measure: Callable[[Entrant], object], entrants: Sequence[Entrant], at_once: bool = False
) -> None:
    """One measurement of each."""

    def told(entrant: Entrant) -> None:
        print(entrant.app.name, measure(entrant), file=sys.stderr, flush=True)

    with ThreadPoolExecutor(len(entrants) if at_once else 1) as threads:
        list(threads.map(told, entrants))


def rows(entrants: Sequence[Entrant]) -> list[dict[str, Any]]:
    """One a line of the table; ratios are to the first peer."""
    base = entrants[min(1, len(entrants) - 1)].rate
    return [
        {
            "name": entrant.app.name,
            "how": entrant.app.how,
            "mails_per_second": entrant.rate,
            "ratio": entrant.rate / base,
            "right": entrant.drains[-1].right,
            "p99_ms": entrant.paced and entrant.paced.p99_ms,
            "peak_mib": entrant.peak_mib,
            "killed": entrant.killed and asdict(entrant.killed),
            "poisoned": entrant.poisoned and asdict(entrant.poisoned),
        }
        for entrant in entrants
    ]


def show(report: dict[str, Any]) -> None:
    """A table in Markdown."""
    for name, value in report["machine"].items():
        print(f"{name:13} {value}")
    print(f"{'mails':13} {report['mails']}\n")
    print(
        "| | mails/s | ratio | as in the archive | p99 at half of it | peak memory "
        "| after a SIGKILL | with a poison record |"
    )
    print("|---" * 8, "|", sep="")
    for row in report["rows"]:
        cells = (
            f"{row['name']}: {row['how']}",
            f"{row['mails_per_second']:.1f}",
            f"{row['ratio']:.2f}",
            f"{row['right']:.3f}",
            f"{row['p99_ms']} ms",
            f"{row['peak_mib']:.0f} MiB",
            *(_told(row[what]) for what in ("killed", "poisoned")),
        )
        print("|", " | ".join(cells), "|")
    for line in report["left_out"]:
        print(line)


def _told(account: dict[str, int] | None) -> str:
    if account is None:
        return ""
    ended = f", ended {account['deaths']} times" if account["deaths"] else ""
    return f"{account['lost']} lost, {account['repeated']} repeated{ended}"


if __name__ == "__main__":
    main()
