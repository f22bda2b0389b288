"""How many workers KEDA's Kafka trigger and the HorizontalPodAutoscaler behind it ask for.

KEDA 2.20, getTotalLag in pkg/scalers/kafka_scaler.go; Kubernetes 1.37, external metrics of the type
AverageValue in pkg/controller/podautoscaler. `behavior` is the chart's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

SYNC_SECONDS = 15.0  # --horizontal-pod-autoscaler-sync-period
TOLERANCE = 0.1  # --horizontal-pod-autoscaler-tolerance
DOWN_EVERY_SECONDS = 60.0  # behavior.scaleDown.policies: one pod


@dataclass
class Autoscaler:
    """Of one trigger and one Deployment. Adding is not bounded: Kubernetes adds four at once."""

    least: int
    most: int
    lag_per_worker: int
    down_seconds: float  # behavior.scaleDown.stabilizationWindowSeconds
    _asked: list[tuple[float, int]] = field(default_factory=list)
    _went: float = -math.inf  # when a worker was last taken away

    def wanted(self, lag: Mapping[int, int], workers: int, now: float) -> int:
        """How many workers there are to be, by the lag of each partition; asked at each sync."""
        asked = self._asked_for(self._metric(lag), workers)
        self._asked = [(at, n) for at, n in self._asked if at > now - self.down_seconds]
        self._asked.append((now, asked))
        if asked > workers:
            return asked
        calm = max(n for _, n in self._asked)
        if calm < workers and now - self._went >= DOWN_EVERY_SECONDS:
            self._went = now
            return workers - 1
        return workers

    def _metric(self, lag: Mapping[int, int]) -> int:
        """The trigger's value: never more than asks for a worker each partition."""
        total = sum(lag.values())
        if total // self.lag_per_worker > len(lag):
            return len(lag) * self.lag_per_worker
        return total

    def _asked_for(self, metric: int, workers: int) -> int:
        ratio = metric / (self.lag_per_worker * workers)
        asked = workers if abs(ratio - 1) <= TOLERANCE else math.ceil(metric / self.lag_per_worker)
        return min(self.most, max(self.least, asked))
