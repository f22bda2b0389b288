"""The faults: a name, what to do to a scene, and where it applies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.integration.faults.scene import Scene

ONCE, TWICE = "effectively_once", "at_least_once"
BOTH = (TWICE, ONCE)
NO_TRANSACTIONS = "the embedded broker has no transactions"
NO_DISK = "the embedded broker keeps nothing on disk"
NO_LIMITS = "the embedded broker has no limits on topics"


@dataclass(frozen=True)
class Fault:
    """`apart` maps a broker to the reason why the fault cannot be injected there."""

    name: str
    act: Callable[[Scene], None]
    breaks: str  # its class in docs/reliability.md
    modes: tuple[str, ...] = (TWICE,)
    quick: Mapping[str, str] = field(default_factory=dict)  # in `make test`: broker -> mode
    own_broker: bool = False
    options: str = ""  # of its own Apache Kafka
    cluster: str = ""  # options of three Apache Kafka brokers of its own
    small_disk: bool = False
    real: bool = False  # the built-in model; else a tiny ALBERT of random weights
    share: float = 1.0  # of the messages
    partitions: int = 4
    duplicates: bool = True  # whether at least once may repeat
    goes_back: bool = False  # whether the input's log does, and what is committed with it
    apart: Mapping[str, str] = field(default_factory=dict)
    route: Mapping[str, Any] = field(default_factory=dict)


FAULTS: list[Fault] = []


def fault(**how: Any) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """Register the function as a fault of its name."""

    def register(act: Callable[[Scene], None]) -> Callable[[Scene], None]:
        breaks = act.__module__.rpartition("on_")[2]
        FAULTS.append(Fault(act.__name__, act, **{"breaks": breaks, **how}))
        return act

    return register
