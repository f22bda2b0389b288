"""SIGKILL to whatever reads from a broker or writes to it, or to the broker itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from tests.integration.faults.brokers import Broker

OUTAGE_SECONDS = 3.0
KILLS = (0.2, 0.4, 0.6)  # of what there is to do


class Scene(Protocol):
    """What these need of a sink's, a source's or a dashboard's scene."""

    broker: Broker | None

    def start(self) -> Any:
        """A process, which can be killed."""

    def reach(self, share: float) -> None: ...
    def strike(self, action: Callable[[], object]) -> None: ...
    def finish(self) -> None: ...


def process_killed(scene: Scene) -> None:
    """SIGKILL, three times; another one goes on each time."""
    running = scene.start()
    for share in KILLS:
        scene.reach(share)
        scene.strike(running.kill)
        running = scene.start()
    scene.finish()


def broker_killed(scene: Scene) -> None:
    """SIGKILL of the broker, which comes back."""
    scene.start()
    scene.reach(0.3)
    assert scene.broker is not None
    scene.strike(scene.broker.kill)
    time.sleep(OUTAGE_SECONDS)  # the fault itself
    scene.broker.start()
    scene.finish()
