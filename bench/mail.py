"""What a filter costs a mail, and what faults cost: mail over SMTP, through Postfix to Dovecot.

    sudo .venv/bin/python -m bench.mail --mails 2000 --connections 8

Needs the packages of apt-packages.txt; spamd (with spamass-milter) and rspamd are measured where
they are installed. Mails are SpamAssassin's corpus, spam and ham by turns. A delivery's time is
that of DATA, from its first byte to Postfix's 250: a filter is asked in between.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from smtplib import SMTP
from typing import Any

import numpy as np

from bench.machine import cpu_seconds, describe
from bench.mail_peers import PEERS, installed
from stream_app.core.settings import FilterSettings
from tests.conftest import apache_kafka, free_port
from tests.integration.filters import ready_worker, running_filter
from tests.integration.harness import Stage, distinct, mails, send
from tests.mail.mail_server import DOMAIN, MailServer, mail_server, someone

LATE_SECONDS = FilterSettings().deadline_seconds + 1
MODEL = "builtin:spam"
SIGNALS = {
    "filter told to stop": signal.SIGTERM,
    "filter killed": signal.SIGKILL,
    "filter stopped": signal.SIGSTOP,
}
STREAM_FAULTS = (
    "worker stopped",
    "worker killed",
    "worker killed, started again",
    "broker stopped",
    "broker killed",
    "broker killed, started again",
)
PERCENTILES = (50, 99)
WARM_UP = 64  # mails
_NEWLINE = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True)
class Flow:
    """How mails went in, and what came of them."""

    seconds: Sequence[float]  # of each DATA
    wall_seconds: float
    delivered: int  # different ones
    twice: int
    labelled: int
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)  # of Winnow's processes

    def milliseconds(self, percent: float) -> float:
        """A percentile of the deliveries."""
        return float(np.percentile(self.seconds, percent)) * 1000

    @property
    def late(self) -> int:
        """Those that waited longer than the deadline and a second."""
        return sum(each > LATE_SECONDS for each in self.seconds)


@dataclass(frozen=True)
class Parts:
    """The processes of a filter on Kafka, by id, and what may happen to them and the broker."""

    filter: int
    worker: int
    faults: Mapping[str, Callable[[], object]]


class Sender:
    """Sends mails over several connections, and counts them in the mailbox."""

    def __init__(self, server: MailServer, batch: Sequence[bytes], connections: int) -> None:
        self._server = server
        self._batch = batch
        self._connections = connections

    def flow(self, port: int, fault: Callable[[], object] = lambda: None) -> Flow:
        """Every mail, to a new user; `fault` happens after a quarter of them."""
        user, numbers = someone(), iter(range(len(self._batch)))
        lock, seconds, quarter = threading.Lock(), list[float](), threading.Event()

        def session() -> None:
            with self._server.session(port) as smtp:
                while True:
                    with lock:
                        number = next(numbers, None)
                    if number is None:
                        return
                    seconds.append(self._deliver(smtp, user, number))
                    if len(seconds) * 4 >= len(self._batch):
                        quarter.set()

        started = time.perf_counter()
        with ThreadPoolExecutor(self._connections) as pool:
            sessions = [pool.submit(session) for _ in range(self._connections)]
            quarter.wait()
            fault()
            for each in sessions:
                each.result()
        return self._account(user, seconds, time.perf_counter() - started)

    def _deliver(self, smtp: SMTP, user: str, number: int) -> float:
        smtp.mail("sender@remote.test")
        smtp.rcpt(f"{user}@{DOMAIN}")
        started = time.perf_counter()
        code, said = smtp.data(b"X-Number: %d\r\n" % number + self._batch[number])
        if code != 250:
            raise RuntimeError(f"mail {number} was refused: {code} {said!r}")
        return time.perf_counter() - started

    def _account(self, user: str, seconds: Sequence[float], wall_seconds: float) -> Flow:
        found = self._server.delivered(user, len(self._batch))
        numbers = {each.message["X-Number"] for each in found}
        labelled = sum(each.message["X-Winnow-Decision"] is not None for each in found)
        return Flow(seconds, wall_seconds, len(numbers), len(found) - len(numbers), labelled)


class Bench:
    """A mail server, and what is measured on it."""

    def __init__(self, server: MailServer, sender: Sender, folder: Path) -> None:
        self._server = server
        self._sender = sender
        self._folder = folder

    def costs(self, peers: Sequence[str]) -> Iterator[tuple[str, Flow]]:
        """Each way with its flow, warmed up."""
        yield "unfiltered", self._warm(self._server.unfiltered)
        with self._in_process() as process:
            yield "winnow, in process", self._warm(self._server.filtered, filter=process)
        with self._through_kafka() as parts:
            flow = self._warm(self._server.filtered, filter=parts.filter, worker=parts.worker)
            yield "winnow, through Kafka", flow
        for peer in peers:
            with PEERS[peer](self._new_folder(), self._server.ports[f"{peer}-milter"]):
                yield peer, self._warm(self._server.ports[peer])

    def worker_alone(self, batch: Sequence[bytes]) -> float:
        """Mails a second that a worker labels with neither mail server nor filter beside it."""
        port, folder = free_port(), self._new_folder()
        with apache_kafka(folder, port):
            stage = self._stage(f"127.0.0.1:{port}")
            stage.create_topics()
            topic = stage.routes[0]["input_topic"]
            with ready_worker(stage), stage.producer() as producer:
                send(producer, topic, batch[:WARM_UP], stage.partitions)
                stage.collect(topic, distinct(WARM_UP))
                started = time.perf_counter()
                send(producer, topic, batch, stage.partitions)
                producer.flush()
                stage.collect(topic, distinct(WARM_UP + len(batch)))
                return len(batch) / (time.perf_counter() - started)

    def faults(self) -> Iterator[tuple[str, Flow]]:
        """Each fault with its flow."""
        port = self._server.filtered
        for name, number in SIGNALS.items():
            with self._in_process() as process:
                yield name, self._sender.flow(port, partial(os.kill, process, number))
        for name in STREAM_FAULTS:
            with self._through_kafka() as parts:
                yield name, self._sender.flow(port, parts.faults[name])

    def _warm(self, port: int, **processes: int) -> Flow:
        self._sender.flow(port)
        before = {name: cpu_seconds(process) for name, process in processes.items()}
        flow = self._sender.flow(port)
        used = {name: cpu_seconds(process) - before[name] for name, process in processes.items()}
        return replace(flow, cpu_seconds=used)

    def _new_folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        folder.chmod(0o755)
        return folder

    def _stage(self, address: str) -> Stage:
        stage = Stage(address, self._new_folder())
        stage.route("mail", "rfc822", MODEL, max_batch_delay_seconds=0.0)
        return stage

    @contextmanager
    def _in_process(self) -> Iterator[int]:
        stage = self._stage("127.0.0.1:1")
        with running_filter(stage, self._server.listen, "--in-process") as running:
            yield running.process.process.pid

    @contextmanager
    def _through_kafka(self) -> Iterator[Parts]:
        """Everything that it takes, and what may happen to it."""
        port, folder = free_port(), self._new_folder()
        with ExitStack() as stack:
            broker = stack.enter_context(apache_kafka(folder, port)).process
            stack.callback(broker.send_signal, signal.SIGCONT)  # else it would not end
            stage = self._stage(f"127.0.0.1:{port}")
            stage.create_topics()
            worker = stack.enter_context(ready_worker(stage)).process
            running = stack.enter_context(running_filter(stage, self._server.listen))

            def again(process: subprocess.Popen[bytes], start: Callable[[], Any]) -> None:
                process.kill()
                stack.enter_context(start())

            faults = {
                "worker stopped": partial(worker.send_signal, signal.SIGSTOP),
                "worker killed": worker.kill,
                "worker killed, started again": lambda: again(worker, partial(ready_worker, stage)),
                "broker stopped": partial(broker.send_signal, signal.SIGSTOP),
                "broker killed": broker.kill,
                "broker killed, started again": lambda: again(
                    broker, partial(apache_kafka, folder, port)
                ),
            }
            yield Parts(running.process.process.pid, worker.pid, faults)


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"), help="holds data/spam")
    parser.add_argument("--mails", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--fault-mails", type=int, default=400)
    parser.add_argument("--only", choices=("costs", "faults"))
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=installed())
    given = parser.parse_args()
    found = [_NEWLINE.sub(b"\r\n", mail) for mail in mails(given.data, given.mails)]
    milters = {peer: free_port() for peer in given.peers}
    others = {peer: f"inet:127.0.0.1:{port}" for peer, port in milters.items()}
    machine = describe("cpu", ())
    print(f"{machine['cpu']}, {machine['cores']} cores, load {os.getloadavg()[0]:.1f}\n")
    with tempfile.TemporaryDirectory() as name, mail_server(others) as server:
        folder = Path(name)
        folder.chmod(0o755)
        ports = {f"{peer}-milter": port for peer, port in milters.items()}
        server = MailServer(server.folder, {**server.ports, **ports})
        if given.only != "faults":
            sender = Sender(server, found, given.connections)
            bench = Bench(server, sender, folder)
            _print_costs(bench.costs(given.peers))
            print(f"\nA worker alone labels {bench.worker_alone(found):.0f} of them a second.")
        if given.only != "costs":
            sender = Sender(server, found[: given.fault_mails], given.connections)
            _print_faults(Bench(server, sender, folder).faults())


def _print_costs(rows: Iterator[tuple[str, Flow]]) -> None:
    print(
        "| filter | mails/s | labelled | p50 ms | p99 ms | added p50 | added p99 | CPU ms a mail |"
    )
    print("|---|---|---|---|---|---|---|---|")
    base: Flow | None = None
    for name, flow in rows:
        base = base or flow
        times = [flow.milliseconds(percent) for percent in PERCENTILES]
        added = [flow.milliseconds(each) - base.milliseconds(each) for each in PERCENTILES]
        rate = len(flow.seconds) / flow.wall_seconds
        cells = [f"{rate:.0f}", f"{flow.labelled}", *(f"{each:.0f}" for each in times + added)]
        each_mail = {of: cpu / len(flow.seconds) * 1000 for of, cpu in flow.cpu_seconds.items()}
        cells.append(", ".join(f"{of} {cpu:.1f}" for of, cpu in each_mail.items()) or "-")
        print("|", " | ".join([name, *cells]), "|", flush=True)


def _print_faults(rows: Iterator[tuple[str, Flow]]) -> None:
    print("\n| fault | in | delivered | twice | lost | late | labelled | longest ms |")
    print("|---|---|---|---|---|---|---|---|")
    for name, flow in rows:
        sent = len(flow.seconds)  # all were accepted
        counts = [sent, flow.delivered, flow.twice, sent - flow.delivered, flow.late, flow.labelled]
        longest = f"{flow.milliseconds(100):.0f}"
        print("|", " | ".join([name, *map(str, counts), longest]), "|", flush=True)


if __name__ == "__main__":
    main()
