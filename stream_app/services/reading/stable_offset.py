"""What a group committed of a partition, once the coordinator's replicas have it.

A coordinator that was elected a moment ago tells an older offset to who asks as aiokafka does: what
it has of its log is not known to be on enough replicas yet. Asked for what is stable, it waits.
Source of the request: https://kafka.apache.org/protocol, KIP-447.
"""

from __future__ import annotations

from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)
from aiokafka.structs import OffsetAndMetadata

from stream_app.core.messages import Partition
from stream_app.services.history.parting import check
from stream_app.services.history.protocol import TAGS

_API = 9  # OffsetFetch


class StableOffsetResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    """OffsetFetch, version 7."""

    API_KEY = _API
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", CompactString("utf-8")),
                        ("error_code", Int16),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )


class StableOffsetRequest(RequestStruct):  # type: ignore[misc]
    """OffsetFetch, version 7, the first that can ask for what is stable."""

    API_KEY = _API
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = StableOffsetResponse
    SCHEMA = Schema(
        ("group", CompactString("utf-8")),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                ("partitions", CompactArray(Int32)),
                ("tags", TaggedFields),
            ),
        ),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class StableOffset(Request[StableOffsetRequest]):  # type: ignore[misc]
    """Asks a group's coordinator about one partition."""

    API_KEY = _API

    def __init__(self, group: str, partition: Partition) -> None:
        self._asked = (group, [(partition.topic, [partition.number], TAGS)])

    def build(self, request_struct_class: type[StableOffsetRequest]) -> Any:
        """See Request."""
        return request_struct_class(*self._asked, True, TAGS)


async def stable_offset(
    client: AIOKafkaClient, coordinator: int, group: str, partition: Partition
) -> OffsetAndMetadata:
    """The next offset to read, -1 where the group committed none. Raises KafkaError, and one of
    LACKING where the broker cannot be asked so: Apache Kafka before 2.5."""
    answer = await client.send(coordinator, StableOffset(group, partition))
    check(answer.error_code)
    [(_, [(_, offset, _, metadata, error, _)], _)] = answer.topics
    check(error)
    return OffsetAndMetadata(offset, metadata)
