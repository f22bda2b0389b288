"""The lag monitor: what it makes of a consumer that is out of its group."""

from aiokafka.errors import KafkaConnectionError

from stream_app.core.health import Health
from stream_app.core.metrics import Metrics
from stream_app.pipeline.ack import AckTracker
from stream_app.services.lag import LagMonitor


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Outside:
    """A consumer that left its group and never got back: it has no partition, so no lag."""

    joined = False

    def assignment(self) -> set[object]:
        return set()

    async def highwaters(self, *partitions: object) -> dict[object, int]:
        return {}

    async def look(self) -> None:
        """There is nothing to look at."""


class Publisher:
    failing = None


def monitor(health: Health, broker_is_there: bool) -> LagMonitor:
    async def ask() -> None:
        if not broker_is_there:
            raise KafkaConnectionError

    publishers = {"mail": Publisher()}
    return LagMonitor(Outside(), ask, {"in": "mail"}, publishers, AckTracker(), Metrics(), health)


async def test_who_never_gets_into_the_group_is_stuck():
    clock = Clock()
    health = Health(50, clock)
    watching = monitor(health, broker_is_there=True)
    for clock.now in range(0, 60, 2):
        await watching._look()
    assert "mail" in health.stuck()


async def test_without_a_broker_nobody_gets_in_and_nobody_is_stuck():
    clock = Clock()
    health = Health(50, clock)
    watching = monitor(health, broker_is_there=False)
    for clock.now in range(0, 600, 2):
        await watching._look()
    assert health.stuck() == {}
    assert "broker" in health.not_ready()
