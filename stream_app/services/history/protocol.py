"""Requests of Kafka's protocol that aiokafka lacks: they tell one log from another.

Source: https://kafka.apache.org/protocol, KIP-320 (leader epochs), KIP-516 (topic ids) and KIP-595
(a fetch that names the epoch of the record before it).
"""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

EPOCH_API = 23  # of OffsetForLeaderEpoch: a broker without it cannot tell epochs
NONE = -1  # Kafka's "unknown", of an epoch or an offset
TAGS: dict[int, bytes] = {}


class TopicId(AbstractType[str]):  # type: ignore[misc]  # aiokafka has no types
    """A topic's id, written as Kafka's own tools print it."""

    @classmethod
    def encode(cls, value: str) -> bytes:
        """22 letters -> 16 bytes."""
        return base64.urlsafe_b64decode(value + "==")

    @classmethod
    def decode(cls, data: BytesIO) -> str:
        """16 bytes -> 22 letters."""
        return base64.urlsafe_b64encode(data.read(16)).rstrip(b"=").decode()


class FetchResponseById(Response):  # type: ignore[misc]
    """Fetch, version 13."""

    API_KEY = 1
    API_VERSION = 13
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("session_id", Int32),
        (
            "topics",
            CompactArray(
                ("topic_id", TopicId),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("highwater_offset", Int64),
                        ("last_stable_offset", Int64),
                        ("log_start_offset", Int64),
                        (
                            "aborted_transactions",
                            CompactArray(
                                ("producer_id", Int64),
                                ("first_offset", Int64),
                                ("tags", TaggedFields),
                            ),
                        ),
                        ("preferred_read_replica", Int32),
                        ("message_set", CompactBytes),
                        ("tags", TaggedFields),  # 0: where the log left the fetcher's
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class FetchRequestById(RequestStruct):  # type: ignore[misc]
    """Fetch, version 13: topics by id, and the epoch of the record before the offset."""

    API_KEY = 1
    API_VERSION = 13
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = FetchResponseById
    SCHEMA = Schema(
        ("replica_id", Int32),
        ("max_wait_time", Int32),
        ("min_bytes", Int32),
        ("max_bytes", Int32),
        ("isolation_level", Int8),
        ("session_id", Int32),
        ("session_epoch", Int32),
        (
            "topics",
            CompactArray(
                ("topic_id", TopicId),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("current_leader_epoch", Int32),
                        ("fetch_offset", Int64),
                        ("last_fetched_epoch", Int32),
                        ("log_start_offset", Int64),
                        ("max_bytes", Int32),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        (
            "forgotten_topics_data",
            CompactArray(
                ("topic_id", TopicId), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)
            ),
        ),
        ("rack_id", CompactString("utf-8")),
        ("tags", TaggedFields),
    )


class MetadataResponseWithIds(Response):  # type: ignore[misc]
    """Metadata, version 12."""

    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", CompactString("utf-8")),
                ("topic_id", TopicId),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class MetadataRequestWithIds(RequestStruct):  # type: ignore[misc]
    """Metadata, version 12."""

    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = MetadataResponseWithIds
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_id", TopicId), ("topic", CompactString("utf-8")), ("tags", TaggedFields)
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicIds(Request[MetadataRequestWithIds]):  # type: ignore[misc]
    """Asks for the ids of topics by name."""

    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[MetadataRequestWithIds]) -> Any:
        """See Request."""
        nobody = "A" * 22  # an id of zeros: the name counts
        names = [(nobody, topic, TAGS) for topic in self._topics]
        return request_struct_class(names, False, False, TAGS)


class EpochEndResponse(Response):  # type: ignore[misc]
    """OffsetForLeaderEpoch, version 3."""

    API_KEY = EPOCH_API
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            Array(
                ("topic", String("utf-8")),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader_epoch", Int32),
                        ("end_offset", Int64),
                    ),
                ),
            ),
        ),
    )


class EpochEndRequest(RequestStruct):  # type: ignore[misc]
    """OffsetForLeaderEpoch, version 3."""

    API_KEY = EPOCH_API
    API_VERSION = 3
    RESPONSE_TYPE = EpochEndResponse
    SCHEMA = Schema(
        ("replica_id", Int32),
        (
            "topics",
            Array(
                ("topic", String("utf-8")),
                (
                    "partitions",
                    Array(
                        ("partition", Int32),
                        ("current_leader_epoch", Int32),
                        ("leader_epoch", Int32),
                    ),
                ),
            ),
        ),
    )


class EpochEnd(Request[EpochEndRequest]):  # type: ignore[misc]
    """Asks a partition's leader where an epoch ended."""

    API_KEY = EPOCH_API

    def __init__(self, topic: str, partition: int, epoch: int) -> None:
        self._asked = (topic, [(partition, NONE, epoch)])

    def build(self, request_struct_class: type[EpochEndRequest]) -> Any:
        """See Request."""
        return request_struct_class(NONE, [self._asked])
