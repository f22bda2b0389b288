"""Every metric Winnow exports, on a registry of its own: one line here, one call where it happens.

Base units, low cardinality: `route`, `model_version` and at most one more bounded label.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
TOKENS = (16, 64, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
RATIOS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LABELLED = ("route", "model_version")


class Metrics:
    """The metrics of one worker process."""

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=r)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"winnow_{name}", text, labels, registry=r)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"winnow_{name}", text, labels, registry=r)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"winnow_{name}", text, labels, buckets=buckets, registry=r)

        self.consumed = counter("records_consumed", "Records read from the input topic", "route")
        self.labelled = counter("records_labelled", "Records with a confirmed label", *LABELLED)
        self.labels = counter("labels", "Confirmed labels by class", *LABELLED, "label")
        self.unsure = counter("records_unsure", "Labels below min_confidence", *LABELLED)
        self.dead_lettered = counter(
            "records_dead_lettered", "Records with a confirmed dead letter", "route", "reason"
        )
        self.engine_failures = counter(
            "engine_failures", "Batches the engine failed on, by what was done", "route", "outcome"
        )
        self.publish_failures = counter(
            "publish_failures", "Deliveries that had to be tried again", "route"
        )

        self.reloads = counter("reloads", "Models that were to replace one", "route", "outcome")
        self.shadowed = counter(
            "shadow_records",
            "Labelled records offered to the challenger, by what it said",
            *LABELLED,
            "outcome",
        )
        self.disagreements = counter(
            "shadow_disagreements",
            "Where the challenger differs, by the champion's",
            *LABELLED,
            "label",
        )

        self.batch_records = histogram("batch_records", "Records in a batch", SIZES, "route")
        self.batch_tokens = histogram("batch_tokens", "Tokens in a batch", TOKENS, "route")
        self.padding_ratio = histogram(
            "padding_ratio", "Share of a batch's computed tokens that is padding", RATIOS, "route"
        )
        self.stage_seconds = histogram(
            "stage_seconds",
            "Time in a stage: parse, encode and queue per record; inference and publish per batch",
            SECONDS,
            "route",
            "stage",
        )
        self.end_to_end_seconds = histogram(
            "end_to_end_seconds", "Record timestamp to confirmed label", SECONDS, "route"
        )

        self.in_flight_records = gauge("in_flight_records", "Records read, not acked", "route")
        self.in_flight_bytes = gauge("in_flight_bytes", "Bytes of records in flight", "route")
        self.lag_records = gauge(
            "consumer_lag_records", "Records behind the end of the partition", "route", "partition"
        )
        self.lag_seconds = gauge(
            "consumer_lag_seconds", "Age of the oldest record without a label", "route", "partition"
        )
        self.drift_score = gauge(
            "drift_score",
            "How far the last window's labels and texts are from what the model knew",
            "route",
            "statistic",
        )
        self.drift_windows = counter("drift_windows", "Windows compared for drift", "route")
        self.reviewed = counter(
            "records_for_review", "Records copied to the review topic, or not", "route", "outcome"
        )
        self.model_info = gauge(
            "model_info", "1 for each model serving", "route", "model_version", "model"
        )
        self.model_bytes = gauge(
            "model_memory_bytes", "Device memory held by the weights", "route", "model_version"
        )
