"""Every metric Winnow exports: a line here, and a call where it happens.

Base units, low cardinality: `route`, `model_version` and at most one more bounded label.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

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

Kind = TypeVar("Kind", Counter, Gauge, Histogram)


class Metric(Generic[Kind]):
    """A line of `Metrics`: a metric's name, meaning and labels."""

    def __init__(self, kind: type[Kind], name: str, text: str, *labels: str, **how: Any) -> None:
        self.kind: type[Kind] = kind
        self.name = f"winnow_{name}"
        self.text = text
        self.labels = labels
        self.how = how  # buckets, of a histogram

    def made(self, registry: CollectorRegistry) -> Kind:
        """The metric itself, on a registry."""
        return self.kind(self.name, self.text, self.labels, registry=registry, **self.how)

    def __get__(self, metrics: Metrics, _: type[Metrics]) -> Kind:
        made: Kind = metrics.made[self]
        return made


def counter(name: str, text: str, *labels: str) -> Metric[Counter]:
    """It only grows; Prometheus shows it as `winnow_<name>_total`."""
    return Metric(Counter, name, text, *labels)


def gauge(name: str, text: str, *labels: str) -> Metric[Gauge]:
    """It goes up and down."""
    return Metric(Gauge, name, text, *labels)


def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Metric[Histogram]:
    """How values are distributed over buckets."""
    return Metric(Histogram, name, text, *labels, buckets=buckets)


class Metrics:
    """The metrics of one process, on a registry of their own."""

    consumed = counter("records_consumed", "Records read from the input topic", "route")
    labelled = counter("records_labelled", "Records with a confirmed label", *LABELLED)
    labels = counter("labels", "Confirmed labels by class", *LABELLED, "label")
    decisions = counter("decisions", "Confirmed labels by decision", *LABELLED, "decision")
    unsure = counter("records_unsure", "Decisions unsure, by reason", *LABELLED, "reason")
    dead_lettered = counter(
        "records_dead_lettered", "Records with a confirmed dead letter", "route", "reason"
    )
    engine_failures = counter(
        "engine_failures", "Batches the engine failed on, by what was done", "route", "outcome"
    )
    publish_failures = counter("publish_failures", "Deliveries that had to be tried again", "route")
    log_reverted = counter(
        "log_reverted", "Input partitions whose log went back, or was made anew", "route"
    )
    missed = counter(
        "records_missed", "Offsets that retention deleted before they were read", "route"
    )
    offsets_moved = counter(
        "offsets_moved", "Input partitions read on from where no worker left off", "route"
    )

    reloads = counter("reloads", "Models that were to replace one", "route", "outcome")
    shadowed = counter(
        "shadow_records",
        "Labelled records offered to the challenger, by what it said",
        *LABELLED,
        "outcome",
    )
    disagreements = counter(
        "shadow_disagreements",
        "Where the challenger differs, by the champion's",
        *LABELLED,
        "label",
    )

    batch_records = histogram("batch_records", "Records in a batch", SIZES, "route")
    batch_tokens = histogram("batch_tokens", "Tokens in a batch", TOKENS, "route")
    padding_ratio = histogram(
        "padding_ratio", "Share of a batch's computed tokens that is padding", RATIOS, "route"
    )
    stage_seconds = histogram(
        "stage_seconds",
        "Time in a stage: parse, encode and queue per record; inference and publish per batch",
        SECONDS,
        "route",
        "stage",
    )
    end_to_end_seconds = histogram(
        "end_to_end_seconds", "Record timestamp to confirmed label", SECONDS, "route"
    )

    in_flight_records = gauge("in_flight_records", "Records read, not acked", "route")
    in_flight_bytes = gauge("in_flight_bytes", "Bytes of records in flight", "route")
    lag_records = gauge(
        "consumer_lag_records", "Records behind the end of the partition", "route", "partition"
    )
    lag_seconds = gauge(
        "consumer_lag_seconds", "Age of the oldest record without a label", "route", "partition"
    )
    drift_score = gauge(
        "drift_score",
        "How far the last window's labels and texts are from what the model knew",
        "route",
        "statistic",
    )
    drift_windows = counter("drift_windows", "Windows compared for drift", "route")
    reviewed = counter(
        "records_for_review", "Records copied to the review topic, or not", "route", "outcome"
    )
    filtered = counter(
        "filter_messages", "Messages that `winnow filter` was asked about", "route", "outcome"
    )
    filter_seconds = histogram(
        "filter_seconds", "Time a message waits for its label", SECONDS, "route"
    )
    filter_in_flight = gauge("filter_in_flight", "Messages that wait for their label")
    corrections = counter(
        "corrections", "Corrections that `winnow filter` was told", "route", "outcome"
    )
    dashboard_viewers = gauge("dashboard_viewers", "Pages that `winnow dashboard` feeds")
    ingested = counter(
        "ingested_records", "Items of a source that were to be delivered", "source", "outcome"
    )
    feed_checks = counter("feeds_checks", "Checks of news feeds, by outcome", "outcome")
    feeds = gauge("feeds", "News feeds that are subscribed, by how they are", "state")
    feeds_overdue_seconds = gauge(
        "feeds_overdue_seconds", "How late the latest check of a news feed is"
    )
    sink_records = counter(
        "sink_records",
        "Records that a sink has done with, by outcome",
        "sink",
        "outcome",
    )
    sink_failures = counter("sink_failures", "Writes of a sink that must be tried again", "sink")
    sink_write_seconds = histogram(
        "sink_write_seconds", "Time a sink needs for a batch of labels", SECONDS, "sink"
    )
    sink_lag_records = gauge(
        "sink_lag_records", "Label records that a sink has yet to write", "sink", "topic"
    )
    sink_lag_seconds = gauge(
        "sink_lag_seconds", "Age of the oldest label that a sink is trying to write", "sink"
    )
    imap_open = gauge(
        "imap_mailbox_open", "1 while the IMAP source follows a mailbox, else 0", "mailbox"
    )
    imap_labels = counter(
        "imap_labels", "Labels that came to the IMAP sink, by outcome for the mail", "outcome"
    )
    model_info = gauge("model_info", "1 for each model serving", "route", "model_version", "model")
    model_bytes = gauge(
        "model_memory_bytes", "Device memory held by the weights", "route", "model_version"
    )

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        lines = [line for line in vars(type(self)).values() if isinstance(line, Metric)]
        self.made = {line: line.made(self.registry) for line in lines}
