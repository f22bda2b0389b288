"""Faults of the engine: slow, failing once or always, poisoned, out of memory, sick."""

from __future__ import annotations

from stream_app.model.references import resolve
from stream_app.model.tokenizer import Tokenizer
from tests.integration.faults.registry import BOTH, TWICE, fault
from tests.integration.faults.scene import Scene, health, order, until
from tests.integration.process import Worker


def _ordered(scene: Scene, what: str) -> Worker:
    """A worker whose engine gets this order in mid-stream."""
    scene.produce()
    worker = scene.start()
    scene.reach(0.3)
    scene.strike(lambda: order(worker, what), worker)
    return worker


def _ends(scene: Scene, what: str) -> None:
    worker = _ordered(scene, what)
    assert worker.process.wait(120) == 1
    assert "canary" in worker.output
    assert scene.totals().dead == 0
    scene.workers.remove(worker)
    scene.finish(scene.start())
    assert scene.totals().dead == 0


@fault(share=0.5, duplicates=False, modes=BOTH)
def engine_slower_than_the_session(scene: Scene) -> None:
    """One batch takes three session timeouts: no rebalance, nothing repeated."""
    scene.finish(_ordered(scene, "slow 18"))


@fault(share=0.5, duplicates=False)
def engine_fails_once(scene: Scene) -> None:
    """The batch is tried again."""
    scene.finish(_ordered(scene, "once"))
    assert scene.totals().dead == 0


@fault(share=0.1, duplicates=False)
def engine_fails_on_all_but_the_canary(scene: Scene) -> None:
    """Every record is blamed alone, none is lost."""
    scene.finish(_ordered(scene, "always"))
    assert set(scene.totals().errors) == {"engine_error"}


@fault(share=0.5, duplicates=False, quick={"tansu": TWICE})
def poison_record(scene: Scene) -> None:
    """One record breaks every batch it is in: it alone is a dead letter."""
    last = len(scene.messages) - 1
    scene.messages = [*scene.messages[:last], b'{"text": "zyzzyva"}']
    scene.expected = {number: r for number, r in scene.expected.items() if number < last}
    [ids] = Tokenizer(resolve(scene.stage.routes[0]["model"])).encode(["zyzzyva"])
    worker = scene.start()
    order(worker, f"poison {' '.join(map(str, ids))}")
    scene.produce()
    scene.finish(worker)
    assert scene.totals().errors == {"engine_error": 1}


@fault(share=0.2, duplicates=False)
def engine_out_of_memory(scene: Scene) -> None:
    """Batches are halved until they fit."""
    scene.finish(_ordered(scene, "memory"))
    assert scene.totals().dead == 0


@fault(share=0.3, modes=BOTH)
def engine_sick(scene: Scene) -> None:
    """The canary fails too: the process ends, blames no record and acks nothing more."""
    _ends(scene, "sick")


@fault(share=0.3, modes=BOTH)
def engine_says_no_numbers(scene: Scene) -> None:
    """Its scores are NaN, the canary's too: the same."""
    _ends(scene, "nan")


@fault(share=0.3)
def stuck_consumer(scene: Scene) -> None:
    """The poll interval short and its guard off: it leaves the group for good, in silence.

    /healthz must say so within a minute, and stay well while there was merely nothing to do.
    """
    # the batches in flight take far longer: so long it is paused, and does not poll
    worker = scene.start(FAULT_POLL_INTERVAL="3", FAULT_PACE="4")
    until(lambda: health(worker, "readyz") == 200, 60, "ready")
    assert health(worker, "healthz") == 200
    scene.produce()
    until(lambda: health(worker, "healthz") == 503, 300, "unhealthy")
    worker.kill()
    scene.finish(scene.start())
