"""Every fault of a sink: no label is lost, a table has each once, a receiver hears each by one id.

One runs with the suite; `make test-faults` runs all, with 20,000 labels for a table and
5,000 for a receiver.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.faults.brokers import Broker
from tests.integration.faults.kills import OUTAGE_SECONDS, broker_killed, process_killed
from tests.integration.faults.sink_scene import Hook, SinkScene, Table, Target, sink_scene
from tests.integration.faults.table import TABLE
from tests.postgres import postgres_server
from tests.receiver import Receiver, listening

QUICK, WHOLE = 3000, 20_000  # labels
Act = Callable[[SinkScene], None]


def sink_killed(scene: SinkScene) -> None:
    """SIGKILL, three times; another one takes over each time."""
    process_killed(scene)


def sink_of_two_killed(scene: SinkScene) -> None:
    """Two share the partitions; one is killed, then a third joins."""
    running = scene.start()
    scene.start()
    scene.reach(0.3)
    scene.strike(running.kill)
    scene.reach(0.5)
    scene.start()
    scene.finish()


def database_killed(scene: SinkScene) -> None:
    """SIGKILL of every process of the database, twice."""
    scene.start()
    assert isinstance(scene.target, Table)
    for share in (0.2, 0.5):
        scene.reach(share)
        scene.strike(scene.target.server.kill)
        time.sleep(OUTAGE_SECONDS)  # the fault itself
        scene.target.server.start()
    scene.finish()


def connections_cut(scene: SinkScene) -> None:
    """The database ends every session, ten times."""
    scene.start()
    assert isinstance(scene.target, Table)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    for number in range(10):
        scene.reach(0.05 + 0.08 * number)
        scene.strike(lambda: scene.target.server.run(f"{cut} AND application_name LIKE 'winnow%'"))
    scene.finish()


def receiver_killed(scene: SinkScene) -> None:
    """It hangs up in the middle of requests, and listens again later."""
    assert isinstance(scene.target, Hook)
    receiver = scene.target.receiver
    scene.start()
    scene.reach(0.3)
    scene.strike(receiver.hang_up)
    time.sleep(OUTAGE_SECONDS)  # the fault itself
    scene.processes.enter_context(listening(receiver))
    scene.finish()


def receiver_fails(scene: SinkScene) -> None:
    """One request in a hundred has the answer 500, or takes two seconds."""
    assert isinstance(scene.target, Hook)
    draw = random.Random(1)

    def answer(_: object) -> tuple[int, dict[str, str]]:
        kind = draw.random()
        if kind < 0.002:
            time.sleep(2)
        return (500 if kind > 0.99 else 204), {}

    scene.target.receiver.answer = answer
    scene.start()
    scene.reach(0.3)
    scene.strike(lambda: None)
    scene.finish()


@dataclass(frozen=True)
class Case:
    """`quick` maps the brokers it runs on with the suite."""

    act: Act
    target: str
    quick: tuple[str, ...] = ()
    own_broker: bool = False
    apart: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.target}_{self.act.__name__}"


NO_DISK = {"tansu": "the embedded broker keeps nothing on disk"}
CASES = [
    Case(sink_killed, "postgres"),
    Case(sink_of_two_killed, "postgres"),
    Case(database_killed, "postgres", quick=("tansu",)),
    Case(connections_cut, "postgres"),
    Case(broker_killed, "postgres", own_broker=True, apart=NO_DISK),
    Case(sink_killed, "webhook"),
    Case(receiver_killed, "webhook"),
    Case(receiver_fails, "webhook"),
    Case(broker_killed, "webhook", own_broker=True, apart=NO_DISK),
]


@pytest.fixture
def targets() -> Iterator[Callable[[str], Target]]:
    """A place for labels, of this test alone: it may be struck."""
    with ExitStack() as opened:

        def make(name: str) -> Target:
            if name == "postgres":
                return Table(opened.enter_context(postgres_server()))
            return Hook(opened.enter_context(listening(Receiver())))

        yield make


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_label_is_lost(
    case: Case,
    broker_kind: str,
    targets: Callable[[str], Target],
    tmp_path: Path,
    request: pytest.FixtureRequest,
):
    whole = request.config.getoption("--all-faults")
    if not whole and broker_kind not in case.quick:
        pytest.skip("in the whole run only")
    if broker_kind in case.apart:
        pytest.skip(case.apart[broker_kind])
    broker = Broker(broker_kind, tmp_path) if case.own_broker else None
    if broker is not None:
        request.addfinalizer(lambda: broker.__exit__(None, None, None))
        broker.__enter__()
    address = broker.address if broker else request.getfixturevalue("broker_address")
    target = targets(case.target)
    count = int((WHOLE if whole else QUICK) * target.share)
    with sink_scene(address, tmp_path, target, count, broker) as scene:
        try:
            case.act(scene)
        finally:
            found = scene.totals()
            row = TABLE.add("sinks", case.name, broker_kind, target.delivery, found)
    assert found.lost == found.mislabelled == 0
    assert found.labelled == found.sent == count
    if isinstance(target, Table):
        assert found.duplicate == 0
    else:
        assert target.receiver.forged == 0
    TABLE.passed(row)
