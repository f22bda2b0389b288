"""Report: a log that is not the one that was read is said aloud, and counted."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from stream_app.core.logs import EACH
from stream_app.core.metrics import Metrics
from stream_app.services.history.parting import Parted

log = logging.getLogger(__name__)


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
