"""The reference of the metrics: names, kinds, labels and buckets of `core/metrics.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from manual.meanings import meanings
from manual.tables import code, table
from stream_app.core.metrics import Metrics

_INTRO = """# Metrics

Every process serves them at `/metrics`. [Operations](operations.md#alerts) has the alerts, and what
the Prometheus client adds.
"""


def page() -> str:
    """The whole page."""
    said = meanings("## Metrics")
    rows = []
    for metric in Metrics().made:
        kind = metric.kind.__name__.lower()
        name = f"{metric.name}_total" if kind == "counter" else metric.name
        labels = ", ".join(map(code, metric.labels))
        rows.append((code(name), kind, labels, said[name] + _buckets(metric.how)))
    return f"{_INTRO}\n" + table(("metric", "kind", "labels", "meaning"), rows)


def _buckets(how: Mapping[str, Sequence[float]]) -> str:
    bounds = ", ".join(f"{bound:g}" for bound in how.get("buckets", ()))
    return f". Buckets: {bounds}" if bounds else ""
