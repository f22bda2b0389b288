"""Every fault of a source: no message is missed, and what comes twice is within what is promised.

One runs with the suite; `make test-faults` runs all, with 20,000 messages (2,000 mails).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.faults.brokers import Broker
from tests.integration.faults.inlets import Inbox, Inlet, Lines, newspapers
from tests.integration.faults.kills import KILLS, broker_killed, process_killed
from tests.integration.faults.source_scene import SourceScene, source_scene
from tests.integration.faults.table import TABLE
from tests.mail.imap_server import imap_server
from tests.mail.mail_server import someone

QUICK, WHOLE = 3000, 20_000  # messages
Act = Callable[[SourceScene], None]


def source_killed(scene: SourceScene) -> None:
    """SIGKILL, three times; another one goes on each time."""
    process_killed(scene)


@dataclass(frozen=True)
class Case:
    """`deaths` of the source, or of the broker under it, each of which may repeat some."""

    act: Act
    source: str
    deaths: int

    @property
    def name(self) -> str:
        return f"{self.source}_{self.act.__name__}"


CASES = [
    Case(act, source, deaths)
    for source in ("files", "feeds", "imap")
    for act, deaths in ((source_killed, len(KILLS)), (broker_killed, 1))
]
ALWAYS = ("files_source_killed", "tansu")


@pytest.fixture
def inlets(tmp_path: Path) -> Iterator[Callable[[str, int], Inlet]]:
    """Where a source reads, of this test alone."""
    with ExitStack() as opened:

        def make(source: str, count: int) -> Inlet:
            if source == "feeds":
                return opened.enter_context(newspapers(tmp_path, count))
            if source == "imap":
                return Inbox(tmp_path, opened.enter_context(imap_server()), someone())
            return Lines(tmp_path)

        yield make


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_message_is_missed(
    case: Case,
    broker_kind: str,
    inlets: Callable[[str, int], Inlet],
    tmp_path: Path,
    request: pytest.FixtureRequest,
):
    whole = request.config.getoption("--all-faults")
    if not whole and (case.name, broker_kind) != ALWAYS:
        pytest.skip("in the whole run only")
    own = case.act is broker_killed
    if own and broker_kind == "tansu":
        pytest.skip("the embedded broker keeps nothing on disk")
    count = (WHOLE if whole else QUICK) // (10 if case.source == "imap" else 1)  # mails are dear
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(broker_kind, tmp_path)) if own else None
        address = broker.address if broker else request.getfixturevalue("broker_address")
        inlet = inlets(case.source, count)
        scene = stack.enter_context(source_scene(address, tmp_path, inlet, count, broker))
        try:
            case.act(scene)
        finally:
            found = scene.totals()
            row = TABLE.add("sources", case.name, broker_kind, "at_least_once", found)
    assert found.lost == 0
    assert found.labelled == found.sent == count
    assert found.duplicate <= inlet.repeats * case.deaths
    TABLE.passed(row)
