"""Report: where reading goes on elsewhere than a worker left off is said aloud."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from stream_app.core.logs import EACH
from stream_app.core.metrics import Metrics
from stream_app.services.history.marks import ours
from stream_app.services.history.parting import Parted

log = logging.getLogger(__name__)

SHOWN = 20  # partitions of a topic that a line names


def report_parted(routes: Mapping[str, str], metrics: Metrics, parted: Parted) -> None:
    """Log it as an error and count it. `routes`: input topic -> route name."""
    partition, route = parted.partition, routes[parted.partition.topic]
    if parted.went_back:
        metrics.log_reverted.labels(route).inc()
        log.error(
            "route %s: the log of topic %s, partition %d, went back or was made anew: reading goes "
            "on at offset %d instead of %d. What the broker lost is gone; what was written since "
            "is labelled",
            route,
            partition.topic,
            partition.number,
            parted.to,
            parted.offset,
            extra=EACH,
        )
    if parted.missed:
        metrics.missed.labels(route).inc(parted.missed)
        log.error(
            "route %s: offsets %d to %d of topic %s, partition %d, were deleted before they were "
            "read. Set retention.ms of the topic above your longest outage",
            route,
            parted.to - parted.missed,
            parted.to - 1,
            partition.topic,
            partition.number,
            extra=EACH,
        )


def report_moved(committed: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
    """Log the committed offsets that no worker wrote: what they leave out gets no label."""
    _report(
        {tp: found for tp, found in committed.items() if not ours(found.metadata)},
        "the group's offsets were set by an administrator, or by a version before 0.2; records "
        "before them get no label any more",
    )


def report_begun(ends: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
    """Log where a group begins to read at the end: what is before it gets no label."""
    _report(
        ends,
        "the group has no offsets, or they expired: reading begins at the end (auto_offset_reset); "
        "records before it get no label",
    )


def _report(places: Mapping[TopicPartition, OffsetAndMetadata], what: str) -> None:
    for topic in sorted({tp.topic for tp in places}):
        told = [
            f"{tp.partition}: {places[tp].offset}" for tp in sorted(places) if tp.topic == topic
        ]
        more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        shown = ", ".join(told[:SHOWN])
        log.warning("topic %s: %s. Partition: offset %s%s", topic, what, shown, more, extra=EACH)
