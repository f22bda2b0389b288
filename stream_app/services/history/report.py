"""Report: where reading goes on elsewhere than a worker left off is said aloud, and counted."""

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

Places = Mapping[TopicPartition, OffsetAndMetadata]


class Report:
    """To the log and to the metrics, by route; from any thread."""

    def __init__(self, routes: Mapping[str, str], metrics: Metrics) -> None:
        """`routes`: input topic -> route name."""
        self._routes = routes
        self._metrics = metrics
        self._told: set[tuple[TopicPartition, int]] = set()
        self._deleted: set[Parted] = set()
        for name in routes.values():  # from 0 on, so that an alert sees the first
            for counter in (metrics.log_reverted, metrics.missed, metrics.offsets_moved):
                counter.labels(name)

    def parted(self, parted: Parted) -> None:
        """A log that is not the one that was read, or whose beginning is gone."""
        partition, route = parted.partition, self._routes[parted.partition.topic]
        if parted.went_back:
            self._metrics.log_reverted.labels(route).inc()
            log.error(
                "route %s: the log of topic %s, partition %d, went back or was made anew: reading "
                "goes on at offset %d instead of %d. What the broker lost is gone; what was "
                "written since is labelled",
                route,
                partition.topic,
                partition.number,
                parted.to,
                parted.offset,
                extra=EACH,
            )
        if parted.missed and (parted.went_back or parted not in self._deleted):
            self._deleted.add(parted)  # until records are labelled, each assignment finds it again
            self._metrics.missed.labels(route).inc(parted.missed)
            log.error(
                "route %s: offsets %d to %d of topic %s, partition %d, were deleted before they "
                "were read. Set retention.ms of the topic above your longest outage",
                route,
                parted.to - parted.missed,
                parted.to - 1,
                partition.topic,
                partition.number,
                extra=EACH,
            )

    def moved(self, committed: Places) -> None:
        """Those of the group's offsets that no worker committed: what is before them and has no
        label will get none. The embedded broker keeps no metadata, which would tell them."""
        self._elsewhere(
            {
                tp: at
                for tp, at in committed.items()
                if at.metadata is not None and not ours(at.metadata)
            },
            "the group's offsets were set by an administrator, or by a version before 0.2; "
            "reading goes on there",
        )

    def begun(self, ends: Places) -> None:
        """Where the group begins to read at the end: what is before that gets no label."""
        self._elsewhere(
            ends,
            "the group has no offsets, or they expired; reading begins at the end "
            "(kafka.auto_offset_reset)",
        )

    def _elsewhere(self, places: Places, why: str) -> None:
        """Once for each place; in front of offset 0 nothing is left out."""
        new = {
            tp: place.offset
            for tp, place in sorted(places.items())
            if place.offset and (tp, place.offset) not in self._told
        }
        self._told.update(new.items())
        for topic in sorted({tp.topic for tp in new}):
            route = self._routes[topic]
            found = [f"{tp.partition}: {offset}" for tp, offset in new.items() if tp.topic == topic]
            self._metrics.offsets_moved.labels(route).inc(len(found))
            log.warning(
                "route %s, topic %s: %s. Records before these offsets that have no label get none. "
                "Partition: offset %s%s",
                route,
                topic,
                why,
                ", ".join(found[:SHOWN]),
                f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "",
                extra=EACH,
            )
