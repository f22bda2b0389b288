"""Faults of worker processes: killed, stopped, paused, too many of them, or with a wrong clock."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.integration.faults.brokers import mount
from tests.integration.faults.registry import BOTH, ONCE, fault
from tests.integration.faults.scene import Scene, gauge, order
from tests.integration.process import Worker

DRAWS = ("kill", "term", "pause", "join", "engine", "broker")


@fault(breaks="nothing", real=True, duplicates=False, modes=BOTH)
def undisturbed(scene: Scene) -> None:
    """No fault: what every other run is compared with."""
    scene.produce()
    scene.finish(scene.start())


@fault(real=True, quick={"apache": ONCE}, modes=BOTH)
def sigkill(scene: Scene) -> None:
    """Three workers one after the other, each killed in mid-stream."""
    scene.produce()
    for share in (0.2, 0.45, 0.7):
        worker = scene.start()
        scene.reach(share)
        scene.strike(worker.kill, worker)
    scene.finish(scene.start())


@fault(real=True, duplicates=False, modes=BOTH)
def sigterm(scene: Scene) -> None:
    """Told to stop in mid-stream: it drains, commits, exits 0 and repeats nothing."""
    scene.produce()
    for share in (0.2, 0.45, 0.7):
        worker = scene.start()
        scene.reach(share)
        scene.strike(lambda worker=worker: worker.stop(30), worker)
        assert worker.process.returncode == 0, worker.output[-2000:]
    scene.finish(scene.start())


@fault(real=True, quick={"apache": ONCE}, modes=BOTH)
def zombie(scene: Scene) -> None:
    """Paused past its session with work in hand, it wakes up when another has its partitions."""
    scene.produce()
    first = scene.start()
    scene.reach(0.2)
    scene.strike(lambda: first.process.send_signal(signal.SIGSTOP), first)
    second = scene.start(ready=False)
    scene.reach(0.5)
    first.process.send_signal(signal.SIGCONT)
    scene.finish(first, second)


@fault(modes=BOTH)
def rebalance_storm(scene: Scene) -> None:
    """Others join and leave, well or badly, five times."""
    slow = scene.pace(120)  # each newcomer has its part of the work before it leaves
    scene.produce()
    stays = scene.start(FAULT_PACE=slow)
    for number in range(5):
        scene.reach(0.1 + 0.12 * number)
        other = scene.start(FAULT_PACE=slow)
        scene.strike(other.kill if number % 2 else other.stop, stays, other)
    scene.finish(stays)


@fault(modes=BOTH, share=0.15, route={"max_in_flight_records": 64, "max_batch_records": 8})
def rejoins_without_a_pause(scene: Scene) -> None:
    """It joins its group again and again, often before it has read of what it was given."""
    scene.produce()
    worker = scene.start(FAULT_PACE=scene.pace(3), FAULT_REJOINS="50")
    scene.finish(worker)


@fault(partitions=1, share=0.5, modes=BOTH)
def standby(scene: Scene) -> None:
    """More workers than partitions, and the active one is killed."""
    slow = scene.pace(30)
    workers = [scene.start(FAULT_PACE=slow), scene.start(FAULT_PACE=slow)]
    scene.produce()
    scene.reach(0.2)
    active, idle = sorted(workers, key=lambda worker: worker.consumed(), reverse=True)
    scene.strike(active.kill, active)
    scene.finish(idle)


@fault(share=0.1)
def idle_past_the_poll_interval(scene: Scene) -> None:
    """Nothing to do for longer than the broker waits for a poll; then work comes."""
    worker = scene.start()
    time.sleep(45)  # the fault itself: seven session timeouts of idleness
    scene.produce()
    scene.finish(worker)


@fault(share=0.5)
def clock_jump(scene: Scene) -> None:
    """The wall clock jumps an hour back, then a day ahead, until somebody sets it."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        pytest.skip("needs libfaketime")
    clock = scene.folder / "clock"
    clock.write_text("+0")
    scene.produce()
    worker = scene.start(
        LD_PRELOAD=str(library),
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    scene.reach(0.2)
    scene.strike(lambda: clock.write_text("-1h"), worker)
    scene.reach(0.5)
    clock.write_text("+1d")  # Apache Kafka takes no record from so far ahead
    scene.wait(lambda: "clock is ahead" in worker.output or scene.complete)
    clock.write_text("+0")
    scene.finish(worker)
    scene.struck = None  # its timestamps say nothing


@fault(share=0.5)
def model_folder_deleted(scene: Scene) -> None:
    """The model's files go while it serves, as by a careless deployment."""
    _without_its_model(scene, shutil.rmtree)


@fault(share=0.5)
def model_folder_corrupted(scene: Scene) -> None:
    """The model's files are overwritten in place while it serves."""

    def corrupt(folder: Path) -> None:
        for path in folder.iterdir():
            with path.open("r+b") as file:
                file.truncate(100)
                file.write(b"nonsense")

    _without_its_model(scene, corrupt)


def _without_its_model(scene: Scene, ruin: Callable[[Path], object]) -> None:
    model = scene.folder / "model"
    shutil.copytree(scene.stage.routes[0]["model"], model)
    scene.stage.routes[0]["model"] = str(model)
    scene.produce()
    worker = scene.start()
    scene.reach(0.3)
    scene.strike(lambda: ruin(model), worker)
    scene.finish(worker)
    refused = scene.start(ready=False)
    assert refused.process.wait(60) == 1, "a worker must not start on a ruined model"
    assert "model" in refused.output.splitlines()[-1]


@fault(share=0.5)
def full_disk_of_the_worker(scene: Scene) -> None:
    """Its temporary folder has no room left."""
    small = scene.folder / "small"
    with ExitStack() as disk:
        disk.callback(mount(small, "1m"))
        scene.produce()
        worker = scene.start(TMPDIR=str(small))
        scene.reach(0.3)
        scene.strike(lambda: _fill(small), worker)
        scene.finish(worker)


@fault()
def worker_100_times_slower(scene: Scene) -> None:
    """A producer that cannot be kept up with: what the worker holds stays what it is."""
    worker = scene.start(FAULT_PACE="4")  # 16 records a second
    sizes: list[float] = []
    with ThreadPoolExecutor(1) as pool:
        produced = pool.submit(scene.produce)
        for _ in range(45):
            time.sleep(1)  # a sample now and then: there is nothing to await
            sizes.append(gauge(worker, "process_resident_memory_bytes") / 2**20)
            assert gauge(worker, "winnow_in_flight_records") <= 512 + 256 * 4
        produced.result()
    assert len(scene.account.places) * 2 < len(scene.sent), "it must be slower by far"
    early, late = max(sizes[5:15]), max(sizes[-10:])
    assert late < early + 8, f"{early:.0f} MiB became {late:.0f}"
    worker.kill()
    scene.finish(scene.start())


def _fill(folder: Path) -> None:
    with suppress(OSError), (folder / "fill").open("wb") as file:
        while True:
            os.write(file.fileno(), b"x" * 4096)


def random_faults(scene: Scene, seed: int) -> None:
    """Fifteen faults drawn from a seed, over the whole run.

    On the embedded broker nobody ends while another joins: a group whose leader leaves between its
    join and its assignment waits for that leader for ever there (docs/reliability.md).
    """
    dice = random.Random(seed)
    slow = scene.pace(60)
    scene.produce()
    settled = scene.broker is not None and scene.broker.kind == "tansu"
    alive = [scene.start(FAULT_PACE=slow)]
    for number in range(15):
        scene.reach(0.05 + number * 0.06)
        draw = dice.choice(DRAWS)
        if draw == "join" or len(alive) == 1:
            alive.append(scene.start(ready=settled, FAULT_PACE=slow))
        worker = dice.choice(alive)
        scene.struck = scene.struck or time.time()
        _apply(draw, worker, scene)
        if worker.process.poll() is not None:
            alive.remove(worker)
    scene.finish(*alive)


def _apply(draw: str, worker: Worker, scene: Scene) -> None:
    match draw:
        case "kill":
            worker.kill()
        case "term":
            worker.wait_for_log("metrics and health")  # it heeds signals from here on
            assert worker.stop(60) == 0, worker.output[-2000:]
        case "pause":
            worker.process.send_signal(signal.SIGSTOP)
            time.sleep(8)  # the fault itself: past the session timeout
            worker.process.send_signal(signal.SIGCONT)
        case "engine":
            order(worker, "once")
        case "broker" if scene.broker is not None:
            if scene.broker.kind == "tansu":
                scene.broker.pause()
                time.sleep(3)  # the fault itself
                scene.broker.go_on()
            else:
                scene.broker.kill()
                scene.broker.start()
