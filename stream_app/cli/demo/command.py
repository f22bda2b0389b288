"""`winnow demo`: broker, topics, worker, dashboard and samples in one command, and a board."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Annotated

import typer
from kafka import KafkaConsumer, KafkaProducer
from rich.console import Console

from stream_app.cli.dashboard import dashboard_command
from stream_app.cli.demo.board import Board
from stream_app.cli.demo.samples import Sample, examples_folder, load_samples
from stream_app.cli.demo.traffic import Traffic
from stream_app.cli.worker import worker_command
from stream_app.configuration import load_settings
from stream_app.core.errors import BrokerError, WinnowError
from stream_app.core.settings import PREFIX, Settings
from stream_app.core.tether import stop
from stream_app.kafka.connect import connected
from stream_app.kafka.embedded_broker import EmbeddedBroker, usable_port
from stream_app.kafka.topics import create_topics
from stream_app.web.access import address

READY_SECONDS = 120.0  # for the models to load on a slow machine
ANSWER_SECONDS = 60.0  # for the last samples to come back
STOP_SECONDS = 15.0
FIRST_ROUND = 0.04  # seconds between two samples
LATER_ROUNDS = 0.25
LINE_WIDTH = 120  # without a terminal

Told = Callable[[], bool]  # whether Ctrl-C or SIGTERM came
Alive = Callable[[], None]  # raises if a process has ended, or the demo should


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Stop after one round; exit code 1 if a message is lost.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the embedded broker; 0 picks a free one.")
    ] = 0,
) -> None:
    """Watch sample e-mails, reviews and news being labelled, all on this machine, until Ctrl-C.

    Starts the embedded broker, a worker with the routes of `examples/winnow.toml` and a dashboard,
    and sends the messages of `examples/`. Nothing is left behind.
    """
    told = _stops_noted()
    try:
        lost = _run(examples_folder(), once, port, told)
    except KeyboardInterrupt:
        if once:
            raise
        return
    if lost:
        raise BrokerError(f"{lost} samples did not come back, neither labelled nor as dead letters")


def _stops_noted() -> Told:
    """Ctrl-C and SIGTERM are noted from now on, and asked for where they may end the demo.

    Raised wherever they come, they can leave `subprocess` with the lock that ending a child needs.
    """
    came: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: came.append(number))
    return lambda: bool(came)


def _run(folder: Path, once: bool, port: int, told: Told) -> int:
    """The demo from start to end; how many samples were lost."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=LINE_WIDTH)
    config, samples = folder / "winnow.toml", load_samples(folder)
    settings = load_settings(config)
    board = Board({route.name: route.model for route in settings.routes}, console)
    with (
        board.shown(),
        EmbeddedBroker(port) as broker,
        tempfile.TemporaryDirectory() as kept,
    ):
        settings = _on_this_machine(settings, broker.address, Path(kept))
        board.open_at(f"http://{settings.dashboard.listen}/?range=15m")
        create_topics(settings.kafka, settings.all_topics, settings.topics)
        with _processes(config, settings, told) as alive:
            board.say(f"broker at {broker.address}; the worker loads its models")
            url = f"http://{settings.metrics.host}:{settings.metrics.port}"
            _await_ready(f"{url}/readyz", alive)
            board.say(f"the worker is ready; its metrics: {url}/metrics")
            with (
                connected(KafkaProducer, settings.kafka, enable_idempotence=False) as producer,
                connected(KafkaConsumer, settings.kafka, fetch_max_wait_ms=20) as consumer,
            ):
                traffic = Traffic(settings, producer, consumer)
                _stream(traffic, samples, once, board, alive)
        return traffic.waiting


def _on_this_machine(settings: Settings, broker: str, folder: Path) -> Settings:
    """The settings with this broker, free ports, and a folder for what the dashboard keeps."""
    host, port = address(settings.dashboard.listen)
    shown = {"listen": f"{host}:{_free(port)}", "history": folder / "dashboard.db"}
    metrics = {"port": _free(settings.metrics.port)}
    return settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={"bootstrap_servers": broker}),
            "metrics": settings.metrics.model_copy(update=metrics),
            "dashboard": settings.dashboard.model_copy(update=shown),
        }
    )


def _free(port: int) -> int:
    """This port, or one that nobody listens on."""
    try:
        return usable_port(port)
    except BrokerError:
        return usable_port(0)


@contextmanager
def _processes(config: Path, settings: Settings, told: Told) -> Iterator[Alive]:
    """A worker and a dashboard with these settings, for the length of the block."""
    changed = {
        f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        f"{PREFIX}METRICS__PORT": str(settings.metrics.port),
        f"{PREFIX}DASHBOARD__LISTEN": settings.dashboard.listen,
        f"{PREFIX}DASHBOARD__HISTORY": str(settings.dashboard.history),
    }
    with (
        _child("worker", worker_command(config), changed) as look_at_worker,
        _child("dashboard", dashboard_command(config), changed) as look_at_dashboard,
    ):

        def alive() -> None:
            if told():
                raise KeyboardInterrupt
            look_at_worker()
            look_at_dashboard()

        yield alive


@contextmanager
def _child(what: str, command: Sequence[str], changed: Mapping[str, str]) -> Iterator[Alive]:
    """A process of Winnow for the length of the block; what is given raises once it has ended."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            env=os.environ | changed,
            stdout=log,
            stderr=log,
            process_group=0,  # Ctrl-C is for us: we stop it while there still is a broker
        )

        def alive() -> None:
            if process.poll() is not None:
                log.seek(0)
                last = log.read().decode("utf-8", "replace").strip().split("\n")[-5:]
                said = "\n".join(last)
                raise WinnowError(f"the {what} ended with code {process.returncode}:\n{said}")

        try:
            yield alive
        finally:
            stop(process, STOP_SECONDS)


def _await_ready(url: str, alive: Alive) -> None:
    """Return once the worker says that it is ready."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        alive()
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:  # not listening yet, or 503
            time.sleep(0.1)
    raise WinnowError(f"the worker is not ready after {READY_SECONDS:.0f} s, says {url}")


def _stream(
    traffic: Traffic, samples: Sequence[Sample], once: bool, board: Board, alive: Alive
) -> None:
    """Send samples and show what comes back; with `once` until all are back, or none for long."""
    plan = _plan(samples, once)
    coming = next(plan, None)
    due = quiet_since = time.monotonic()
    while coming or (traffic.waiting and time.monotonic() - quiet_since < ANSWER_SECONDS):
        alive()
        while coming and time.monotonic() >= due:
            sample, pause = coming
            traffic.send(sample)
            board.sent(sample)
            due, quiet_since = due + pause, time.monotonic()
            coming = next(plan, None)
        for answer in traffic.answers():
            board.add(answer)
            quiet_since = time.monotonic()


def _plan(samples: Sequence[Sample], once: bool) -> Iterator[tuple[Sample, float]]:
    """The samples, each with the seconds until the next one; over and over unless `once`."""
    yield from zip(samples, repeat(FIRST_ROUND), strict=False)
    while not once:
        yield from zip(samples, repeat(LATER_ROUNDS), strict=False)
