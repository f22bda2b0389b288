"""Replay of dead letters: back to their route's input, exactly once each, however often it is run.

- Before anything is sent the broker is told that a replay is under way, and after each chunk what
  was confirmed. A replay that finds another one unfinished looks into the input topic for what that
  one has sent: every record says which letter it was.
- A record is sent once, never again by the client itself. Where its delivery is in doubt the replay
  ends, and the next one looks.
- A replay is alone: the consumer group that remembers is also the lock, and a second one waits.
- A letter that has failed too often is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, groupby
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from stream_app.core.errors import BrokerError
from stream_app.core.messages import Partition, Record
from stream_app.core.settings import KafkaSettings, RouteSettings
from stream_app.dead_letters.letters import (
    Place,
    attempts_of,
    belongs,
    content,
    id_of,
    replay_headers,
    replay_of,
)
from stream_app.dead_letters.replay_log import Replayed, ReplayLog
from stream_app.kafka.broker import ask_broker
from stream_app.kafka.connect import connected
from stream_app.kafka.reading import partitions_of, read_topic, subscribe
from stream_app.kafka.sending import Sending, sending
from stream_app.kafka.topics import require_topics

CHUNK = 100  # letters between two commits
MAX_MARK_CHARS = 4000  # a broker's offset.metadata.max.bytes is 4096 by default
CLOCK_MS = 10 * 60 * 1000  # how far two machines' clocks may be apart
_DAY_MS = 24 * 60 * 60 * 1000
_SESSION_MS = 30_000
_POLL_MS = 200
_PATIENT_POLLS = 25


@dataclass(slots=True)
class Outcome:
    """What a replay did. The lists hold ids."""

    sent: int = 0
    without_value: list[str] = field(default_factory=list)
    too_large: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # failed too often


def replay(
    kafka: KafkaSettings,
    route: RouteSettings,
    wanted: Callable[[Record], bool],
    max_attempts: int,
    say: Callable[[str], None],
) -> Outcome:
    """Send the route's wanted dead letters that were not replayed yet back to its input topic.

    Those that failed `max_attempts` times or more are refused. `say` is told what it waits for.
    Raises BrokerError.
    """
    outcome, topic = Outcome(), route.dead_letter_topic
    require_topics(kafka, [topic, route.input_topic])
    with (
        _alone(kafka, route, say) as consumer,
        sending(kafka, route.input_topic, retries=0) as records,
    ):
        log = ReplayLog(consumer, round(time.time() * 1000))
        done = _begin(log, kafka, route, [n for _, n in partitions_of(consumer, topic)])
        letters = (letter for letter in read_topic(kafka, topic) if belongs(letter, route))
        for partition, found in groupby(letters, key=lambda letter: letter.partition):
            chosen = _chosen(found, wanted, max_attempts, done[partition], outcome)
            for replayed in _sent(chosen, done[partition], records, outcome):
                records.finish()
                log.write(partition, replayed)
                done[partition] = replayed
        for partition, replayed in done.items():
            log.end(partition, replayed)
        outcome.sent, outcome.too_large = records.confirmed, records.refused
    return outcome


@contextmanager
def _alone(kafka: KafkaSettings, route: RouteSettings, say: Callable[[str], None]) -> Iterator[Any]:
    """The consumer that remembers, once it is the only one at work: it owns the first partition.

    Another that comes meanwhile waits for this one, which answers no rebalance until it is done.
    The embedded broker, for trials only, needs half a minute for a join: it gets no lock.
    """
    lockable = ask_broker(kafka).idempotent_producers
    group, topic = f"{kafka.group_id}-dlq-replay-{route.name}", route.dead_letter_topic
    with connected(
        KafkaConsumer,
        kafka,
        group_id=group,
        enable_auto_commit=False,
        max_poll_interval_ms=_DAY_MS,
        session_timeout_ms=_SESSION_MS,  # so long the lock of one that was killed lasts
        max_poll_records=1,
    ) as consumer:
        if lockable:
            subscribe(consumer, [topic])
            for polls in count(1):
                consumer.poll(_POLL_MS)
                if TopicPartition(topic, 0) in consumer.assignment():
                    break
                if polls == _PATIENT_POLLS:
                    say(f"another replay of {route.name} is at work, or was")
            consumer.pause(*consumer.assignment())  # its records are read elsewhere
        yield consumer


def _begin(
    log: ReplayLog, kafka: KafkaSettings, route: RouteSettings, numbers: Iterable[int]
) -> dict[Partition, Replayed]:
    """What was replayed of each partition: by memory, and by what an unfinished replay sent."""
    partitions = [Partition(route.dead_letter_topic, number) for number in numbers]
    begun = {partition: log.begin(partition) for partition in partitions}
    done = {partition: replayed for partition, (replayed, _) in begun.items()}
    unsure = [since for _, since in begun.values() if since is not None]
    if not unsure:
        return done
    since = max(0, min(unsure) - CLOCK_MS)
    claimed: dict[Place, set[bytes]] = {}
    for record in read_topic(kafka, route.input_topic, since, "read_uncommitted"):
        place = replay_of(record)
        if place is not None and place[0] in done:
            claimed.setdefault(place, set()).add(content(record))
    # any producer can write that header: it counts where the letter says the same
    for letter in read_topic(kafka, route.dead_letter_topic) if claimed else ():
        if content(letter) in claimed.get((letter.partition, letter.offset), ()):
            replayed = done[letter.partition]
            done[letter.partition] = replayed.plus(letter.offset, letter.offset + 1)
    return done


def _chosen(
    letters: Iterable[Record],
    wanted: Callable[[Record], bool],
    max_attempts: int,
    replayed: Replayed,
    outcome: Outcome,
) -> Iterator[tuple[int, Record]]:
    """The letters to send, each with the offset after the letter before it.

    Between two neighbours there is nothing of this route: compaction and transactions leave gaps.
    """
    after = 0
    for letter in letters:
        first, after = after, letter.offset + 1
        if not wanted(letter) or letter.offset in replayed:
            continue
        if attempts_of(letter) >= max_attempts:
            outcome.refused.append(id_of(letter))
            continue
        yield first, letter


def _sent(
    chosen: Iterable[tuple[int, Record]],
    replayed: Replayed,
    records: Sending,
    outcome: Outcome,
) -> Iterator[Replayed]:
    """Send what is chosen of one partition; yields what to remember once it is confirmed."""
    unremembered = 0
    for first, letter in chosen:
        more = replayed.plus(first, letter.offset + 1)
        if len(more.mark) > max(MAX_MARK_CHARS, len(replayed.mark)):
            yield replayed
            raise BrokerError("too many dead letters were replayed singly: replay all others first")
        if letter.value is None:
            outcome.without_value.append(id_of(letter))
        else:
            records.send(id_of(letter), letter.value, letter.key, replay_headers(letter))
        replayed, unremembered = more, unremembered + 1
        if unremembered == CHUNK:
            yield replayed
            unremembered = 0
    yield replayed
