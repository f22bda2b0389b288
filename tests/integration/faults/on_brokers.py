"""Faults of the broker and of the way to it."""

from __future__ import annotations

import subprocess
import time

from tests.integration.faults.brokers import Wire
from tests.integration.faults.registry import BOTH, NO_DISK, fault
from tests.integration.faults.scene import Scene, health, until
from tests.integration.process import Worker

LINES_A_MINUTE = 120  # what a person can still read

DISK = {"tansu": NO_DISK}
ONE_ADDRESS = {"tansu": "the embedded broker advertises one address: no wire of one worker alone"}
TWO_LISTENERS = """\
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},FAR://127.0.0.1:{inner}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},FAR://127.0.0.1:{outer}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,FAR:PLAINTEXT
"""


def _crash(scene: Scene, seconds: float) -> None:
    assert scene.broker is not None
    scene.produce()
    worker = scene.start()
    scene.reach(0.3)
    scene.strike(scene.broker.kill, worker)
    before = len(worker.output.splitlines())
    _unready_but_alive(worker, seconds)
    scene.broker.start()
    scene.finish(worker)
    _readable(worker, before, seconds)


def _unready_but_alive(worker: Worker, seconds: float) -> None:
    """Watch it through the outage: it must never ask to be restarted."""
    ends, unready = time.monotonic() + seconds, False
    while time.monotonic() < ends:
        assert health(worker, "healthz") == 200, "an outage of the broker is no reason to restart"
        unready = unready or health(worker, "readyz") == 503
        time.sleep(0.5)  # HTTP offers no event to await
    assert unready or seconds < 15, "an outage must show as unready"


def _readable(worker: Worker, before: int, seconds: float) -> None:
    lines = worker.output.splitlines()[before:]
    allowed = LINES_A_MINUTE * max(1.0, seconds / 60)
    assert len(lines) <= allowed, f"{len(lines)} lines in an outage of {seconds:.0f} s"


@fault(own_broker=True, apart=DISK, modes=BOTH)
def broker_killed_for_3_s(scene: Scene) -> None:
    """SIGKILL, back at once."""
    _crash(scene, 3)


@fault(own_broker=True, apart=DISK, modes=BOTH)
def broker_killed_for_20_s(scene: Scene) -> None:
    """SIGKILL, away for longer than the session."""
    _crash(scene, 20)


@fault(own_broker=True, apart=DISK, modes=BOTH)
def broker_killed_for_75_s(scene: Scene) -> None:
    """SIGKILL, away for longer than a liveness probe waits."""
    _crash(scene, 75)


@fault(own_broker=True, modes=BOTH)
def broker_stopped_for_60_s(scene: Scene) -> None:
    """SIGSTOP: connections stay open, nothing answers."""
    assert scene.broker is not None
    scene.produce()
    worker = scene.start()
    scene.reach(0.3)
    scene.strike(scene.broker.pause, worker)
    before = len(worker.output.splitlines())
    _unready_but_alive(worker, 60)
    scene.broker.go_on()
    scene.finish(worker)
    _readable(worker, before, 60)


@fault(own_broker=True, apart=DISK, share=0.2)
def broker_absent_at_start(scene: Scene) -> None:
    """The worker comes first; it waits."""
    assert scene.broker is not None
    scene.produce()
    scene.broker.kill()
    worker = scene.start(ready=False)
    worker.wait_for_log("waiting for a broker: the Kafka broker at")
    until(lambda: health(worker, "readyz") == 503, 60, "unready")
    assert health(worker, "healthz") == 200
    scene.broker.start()
    scene.finish(worker)


@fault(own_broker=True, apart=DISK, share=0.2)
def broker_killed_while_the_worker_starts(scene: Scene) -> None:
    """It answered, then it went away before the consumer began."""
    assert scene.broker is not None
    scene.produce()
    worker = scene.start(ready=False)
    worker.wait_for_log("loading")
    scene.broker.kill()
    worker.wait_for_log("the consumer cannot start", 120)
    scene.broker.start()
    scene.finish(worker)


@fault(own_broker=True, apart=DISK, modes=BOTH)
def broker_killed_in_a_rebalance(scene: Scene) -> None:
    """Away for 40 s from the middle of a rebalance: its seek waits for longer than a request."""
    assert scene.broker is not None
    slow = scene.pace(120)
    scene.produce()
    first = scene.start(FAULT_PACE=slow)
    scene.reach(0.1)
    second = scene.start(ready=False, FAULT_PACE=slow)
    first.wait_for_log("it is rebalancing", 120)
    scene.strike(scene.broker.kill)
    _unready_but_alive(first, 40)
    scene.broker.start()
    scene.finish(first, second)


@fault(own_broker=True, apart=ONE_ADDRESS, modes=BOTH, options=TWO_LISTENERS)
def network_cut(scene: Scene) -> None:
    """One worker's packets are lost for 20 s while another works; then its wire is whole again."""
    assert scene.broker is not None
    wire = Wire(scene.broker.outer, scene.broker.inner)
    try:
        address = f"127.0.0.1:{scene.broker.outer}"
        far = scene.start(WINNOW_KAFKA__BOOTSTRAP_SERVERS=address)
        near = scene.start()
        scene.produce()
        scene.reach(0.1)
        scene.strike(wire.cut, far)
        time.sleep(20)  # the fault itself
        wire.mend()
        scene.finish(near, far)
    finally:
        wire.close()


@fault(own_broker=True, apart=ONE_ADDRESS, modes=BOTH, options=TWO_LISTENERS)
def network_cut_until_the_group_is_empty(scene: Scene) -> None:
    """The wire is whole again when the other worker has done all and is gone: what the first one
    still wanted to commit must not take the group back."""
    assert scene.broker is not None
    wire = Wire(scene.broker.outer, scene.broker.inner)
    try:
        far = scene.start(WINNOW_KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{scene.broker.outer}")
        near = scene.start()
        scene.produce()
        scene.reach(0.1)
        scene.strike(wire.cut, far)
        scene.finish(near)
        wire.mend()
        until(lambda: health(far, "readyz") == 200, 120, "the first worker's return")
        scene.finish(far)  # commits that go back fail the run; what was on its way is repeated
    finally:
        wire.close()


@fault(own_broker=True, apart=DISK, share=0.5, small_disk=True)
def full_disk_of_the_broker(scene: Scene) -> None:
    """Its disk fills up and it ends; with more room it is started again."""
    assert scene.broker is not None
    data = scene.broker.folder / "data"
    scene.produce()
    worker = scene.start()
    scene.reach(0.3)
    fill = data / "fill"

    def fill_up() -> None:
        subprocess.run(["dd", "if=/dev/zero", f"of={fill}", "bs=64k"], capture_output=True)

    scene.strike(fill_up, worker)
    scene.broker.process.wait(120)
    fill.unlink()
    subprocess.run(["mount", "-o", "remount,size=512m", data], check=True)
    scene.broker.start()
    scene.finish(worker)
