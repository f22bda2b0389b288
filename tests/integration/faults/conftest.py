"""Messages and models for the faults, and the table of results."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from stream_app.kafka.embedded_broker import EmbeddedBroker
from tests.conftest import free_port
from tests.integration.faults.account import Result
from tests.integration.faults.brokers import Broker, three_brokers
from tests.integration.faults.registry import Fault
from tests.integration.faults.scene import Scene, scene_on
from tests.integration.faults.table import TABLE, Table
from tests.tiny_model import save_small_albert

QUICK, WHOLE = 3000, 20_000  # messages
REAL = "builtin:reviews"


@pytest.fixture(scope="session")
def messages(shared: Path, request: pytest.FixtureRequest) -> Sequence[bytes]:
    """Real messages, a JSON object each."""
    count = WHOLE if request.config.getoption("--all-faults") else QUICK
    with gzip.open(shared / "data" / "reviews" / "sst2_train.jsonl.gz", "rb") as file:
        found = [line for line, _ in zip(file, range(count), strict=False)]
    assert len(found) == count
    return found


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A true ALBERT with the built-in tokenizer and random weights: fast, its labels vary."""
    return str(save_small_albert(tmp_path_factory.mktemp("small") / "model"))


@pytest.fixture(scope="session")
def undisturbed(
    messages: Sequence[bytes], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Mapping[int, Result]]:
    """The results of an undisturbed worker, by message number, for a model."""
    said: dict[str, Mapping[int, Result]] = {}

    def of(model: str) -> Mapping[int, Result]:
        if model not in said:
            folder = tmp_path_factory.mktemp("undisturbed")
            route = {"kind": "json", "model": model}
            with (
                EmbeddedBroker(free_port()) as broker,
                scene_on(broker.address, folder, route, messages, {}, None) as scene,
            ):
                scene.produce()
                scene.finish(scene.start())
                said[model] = {r.number: r for r in scene.account.results if r.number is not None}
            assert len({result.label for result in said[model].values()}) > 1
        return said[model]

    return of


@pytest.fixture
def set_scene(
    request: pytest.FixtureRequest,
    broker_kind: str,
    tmp_path: Path,
    messages: Sequence[bytes],
    small_model: str,
    undisturbed: Callable[[str], Mapping[int, Result]],
) -> Callable[[Fault, str], AbstractContextManager[Scene]]:
    """A scene for a fault and a delivery mode, on this test's broker."""

    @contextmanager
    def make(fault: Fault, mode: str) -> Iterator[Scene]:
        model = REAL if fault.real else small_model
        route = {"kind": "json", "model": model, "delivery": mode, **fault.route}
        few = messages[: int(len(messages) * fault.share)]
        own: Broker | None = None
        cluster: Sequence[Broker] = ()
        with ExitStack() as running:
            if fault.cluster:
                cluster = running.enter_context(three_brokers(tmp_path, fault.cluster))
                address = ",".join(broker.address for broker in cluster)
            elif fault.own_broker:
                own = Broker(broker_kind, tmp_path, fault.options, fault.small_disk)
                address = running.enter_context(own).address
            else:
                address = request.getfixturevalue("broker_address")
            yield running.enter_context(
                scene_on(
                    address,
                    tmp_path,
                    route,
                    few,
                    undisturbed(model),
                    own,
                    fault.partitions,
                    broker_kind != "tansu",
                    cluster,
                )
            )

    return make


@pytest.fixture
def table() -> Table:
    """Where a run's row goes."""
    return TABLE


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if config.getoption("--all-faults"):
        TABLE.keep()
    for line in TABLE.lines():
        terminalreporter.write_line(line)
