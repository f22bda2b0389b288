"""Waits until a route's texts have drifted from its model's reference."""

from __future__ import annotations

import logging
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

_log = logging.getLogger(__name__)
_SCORE = "winnow_drift_score"
_WINDOWS = "winnow_drift_windows_total"
_PATIENCE_SECONDS = 10
THRESHOLD = 0.25  # see `stream_app.model.drift_reference`
WINDOWS = 2  # in a row: one alone may be a campaign that is over by now
EVERY_SECONDS = 15.0


def wait_for_drift(
    url: str,
    route: str,
    threshold: float,
    fetch: Callable[[str], str] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Return why, once a score of `route` exceeds `threshold` in two windows in a row.

    `url` is a worker's /metrics, or /federate of a Prometheus that knows all workers; without an
    answer it is asked again. `fetch` gets the text of a URL, or raises OSError.
    """
    seen: dict[str, _Process] = {}
    while True:
        try:
            text = (fetch or _fetch)(url)
        except OSError as error:
            _log.warning("%s does not answer (%s); trying again", url, type(error).__name__)
        else:
            for name, (windows, scores) in _processes(text, route).items():
                found = seen.setdefault(name, _Process()).drifted(windows, scores, threshold)
                if found:
                    return f"route {route}: drift of {found} (threshold {threshold:g})"
        sleep(EVERY_SECONDS)


@dataclass(slots=True)
class _Process:
    """What was seen of one worker process."""

    windows: float = 0.0
    streaks: dict[str, int] = field(default_factory=dict)  # windows in a row above the threshold

    def drifted(self, windows: float, scores: Mapping[str, float], threshold: float) -> str:
        """What drifted, or ''. A window that was looked at before counts once."""
        if windows == self.windows:
            return ""
        self.windows = windows
        for name, score in scores.items():
            self.streaks[name] = self.streaks.get(name, 0) + 1 if score > threshold else 0
        far = {n: score for n, score in scores.items() if self.streaks[n] >= WINDOWS}
        return ", ".join(f"{n} {score:.2f}" for n, score in sorted(far.items()))


def _processes(text: str, route: str) -> dict[str, tuple[float, dict[str, float]]]:
    """Windows and scores of each process, by the labels that Prometheus gave it."""
    windows: dict[str, float] = {}
    scores: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            if sample.name not in (_SCORE, _WINDOWS) or labels.pop("route", None) != route:
                continue
            statistic = labels.pop("statistic", "")
            process = str(sorted(labels.items()))
            if sample.name == _WINDOWS:
                windows[process] = sample.value
            else:
                scores.setdefault(process, {})[statistic] = sample.value
    return {name: (windows.get(name, 0.0), found) for name, found in scores.items()}


def _fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=_PATIENCE_SECONDS) as answer:
        return bytes(answer.read()).decode()
