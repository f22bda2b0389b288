"""Every fault on every broker in every mode: nothing lost, nothing mislabelled, all accounted for.

A quick part runs with the suite. `make test-faults` runs all of it, with 20,000 messages a run, and
keeps the rows in docs/faults.csv.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import pytest

from tests.integration.faults import (
    on_brokers,
    on_clusters,
    on_engines,
    on_environments,
    on_groups,
    on_input,
    on_logs,
    on_outputs,
    on_producers,
    on_settings,
    on_workers,
)
from tests.integration.faults.registry import (
    BOTH,
    FAULTS,
    NO_TRANSACTIONS,
    ONCE,
    Fault,
)
from tests.integration.faults.scene import Scene
from tests.integration.faults.table import Table

SOURCES = (
    on_workers,
    on_brokers,
    on_outputs,
    on_engines,
    on_environments,
    on_groups,
    on_input,
    on_logs,
    on_producers,
    on_settings,
    on_clusters,
)  # they fill FAULTS
SEEDS = [
    Fault(
        f"random_faults_seed_{seed}",
        partial(on_workers.random_faults, seed=seed),
        breaks="random",
        modes=BOTH,
        own_broker=True,
    )
    for seed in range(10)
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = [
        pytest.param(fault, mode, id=f"{fault.name}-{mode}")
        for fault in (*FAULTS, *SEEDS)
        for mode in fault.modes
        if metafunc.config.getoption("--all-faults") or mode in fault.quick.values()
    ]
    metafunc.parametrize(("fault", "mode"), chosen)


@pytest.mark.timeout(5400)  # on a busy machine; ten minutes are the longest fault
def test_nothing_is_lost(
    fault: Fault,
    mode: str,
    broker_kind: str,
    set_scene: Callable[[Fault, str], AbstractContextManager[Scene]],
    table: Table,
    request: pytest.FixtureRequest,
):
    whole = request.config.getoption("--all-faults")
    if not whole and fault.quick.get(broker_kind) != mode:
        pytest.skip("in the whole run only")
    why = fault.apart.get(broker_kind)
    if mode == ONCE and broker_kind == "tansu":
        why = NO_TRANSACTIONS
    own = fault.own_broker or fault.cluster
    if why is None and own and broker_kind not in ("tansu", "apache"):
        why = "the broker is not ours to strike"
    if why is not None:
        pytest.skip(why)
    with set_scene(fault, mode) as scene:
        try:
            fault.act(scene)
        finally:
            found = scene.totals()
            row = table.add(fault.breaks, fault.name, broker_kind, mode, found)
    assert found.lost == 0
    assert found.mislabelled == 0
    assert found.labelled + found.dead == found.sent
    assert found.backwards == 0 or fault.goes_back, "commits went back"
    assert found.early == 0 or fault.goes_back, "commits came before their deliveries"
    assert found.disorder == 0
    if mode == ONCE or not fault.duplicates:
        assert found.duplicate == 0
    table.passed(row)
