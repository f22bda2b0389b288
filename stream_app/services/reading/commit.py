"""Commit: offsets of a group, as the member of it that this is now, and as no other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    TopicAuthorizationFailedError,
    UnknownMemberIdError,
    UnknownTopicOrPartitionError,
)
from aiokafka.structs import OffsetAndMetadata

RETRY_SECONDS = 0.2
EXPELLED = -1  # the generation of who is in no group
# a commit that is no longer ours, or cannot be now: what is not committed is read again, or later
NOT_NOW = (
    UnknownMemberIdError,
    IllegalGenerationError,
    RebalanceInProgressError,
    UnknownTopicOrPartitionError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
)


async def commit_now(consumer: AIOKafkaConsumer, marked: Mapping[Any, OffsetAndMetadata]) -> bool:
    """Whether the offsets are committed; False where that is not possible now.

    aiokafka's own way would wait for a deleted topic for ever, and a rebalance for it. Raises
    KafkaError.
    """
    coordinator = consumer._coordinator
    generation = coordinator.generation
    while True:
        try:
            await coordinator.ensure_coordinator_known()
            async with coordinator._commit_lock:
                await asyncio.shield(_commit_as(generation, consumer, marked))
        except NOT_NOW:
            return False
        except KafkaError as error:
            if not error.retriable:
                raise
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return True


async def _commit_as(
    generation: int, consumer: AIOKafkaConsumer, marked: Mapping[Any, OffsetAndMetadata]
) -> None:
    """Once. Raises KafkaError; IllegalGenerationError if it is no longer that member.

    Who was expelled is without a generation, and a group that is empty by then would take the
    old offsets, over those of the members that came and went.
    """
    if consumer._coordinator.generation != generation or generation == EXPELLED:
        raise IllegalGenerationError(f"generation {generation}")
    assignment = consumer._subscription.subscription.assignment
    await consumer._coordinator._do_commit_offsets(assignment, marked)
