"""From the feedback topic to a set to learn from: each pull continues where the last one ended."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from stream_app.codecs import CODECS
from stream_app.core.errors import ConfigError, RecordError
from stream_app.core.feedback import Feedback
from stream_app.core.messages import Message, Partition, Record
from stream_app.core.settings import KafkaClientSettings, RouteSettings
from stream_app.kafka.reading import Offsets, Reader, reading
from stream_app.kafka.topics import require_topics
from stream_app.model.artifact import Problem
from training.refreshing.feedback_set import (
    Correction,
    Pull,
    last_of_each,
    next_offsets,
    pulls,
    tally,
    write_pull,
)

_log = logging.getLogger(__name__)
_CLOCKS_MS = 60_000  # by which the clocks of two producers may differ
_NAMED = 20  # refused records of a kind that the manifest names


@dataclass(slots=True)
class _Outcomes:
    """The records of a pull, counted by outcome."""

    counts: Counter[str] = field(default_factory=Counter)
    refused: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def refuse(self, outcome: str, record: Record) -> None:
        self.counts[outcome] += 1
        if len(self.refused[outcome]) < _NAMED:
            self.refused[outcome].append(record.id)


@dataclass(frozen=True, slots=True)
class FeedbackSource:
    """The route whose feedback to read, its topics and its model's labels; of these a text has one,
    or where the problem is multi-label any number."""

    kafka: KafkaClientSettings
    topic: str
    route: RouteSettings
    labels: Sequence[str]
    problem: Problem = "single_label"


def pull(source: FeedbackSource, folder: Path) -> Pull | None:
    """Read the feedback since the last pull into `folder`; None without any.

    Unusable feedback is counted by reason and named in the manifest, and does not end the pull:
    `malformed`, `unknown_label`, `not_one_label`, `foreign_id` (no record of the route's input),
    `expired` or `absent` (the record is not there any more, or never was), `other_log` (another
    record has its place), `unreadable` (it has no text). `missed` are offsets that were deleted
    before a pull read them. A topic that was made again is read from its beginning.
    Raises ConfigError for a folder of other feedback, BrokerError and SourceError.
    """
    before = pulls(folder)
    _check(source, before, folder)
    outcomes = _Outcomes()
    require_topics(source.kafka, [source.topic])
    with reading(source.kafka) as records:
        ends, topic_id = records.ends(source.topic), records.topic_id(source.topic)
        log, starts = _goes_on(source.topic, topic_id, before, ends)
        if all(starts.get(number, 0) == end for number, end in ends.items()):
            return None
        if missed := _missed(source.topic, starts, records.begins(source.topic)):
            outcomes.counts["missed"] = missed
        said = _understood(records.between(source.topic, starts, ends), source, outcomes)
        corrections = list(_with_words(said, source.route, records, outcomes))
    kept = last_of_each(corrections)
    outcomes.counts["superseded"] += len(corrections) - len(kept)
    outcomes.counts["kept"] = len(kept)
    manifest = Pull(
        route=source.route.name,
        topic=source.topic,
        topic_id=topic_id,
        log=log,
        offsets={number: (starts.get(number, 0), end) for number, end in ends.items()},
        counts=dict(sorted(outcomes.counts.items())),
        refused=dict(sorted(outcomes.refused.items())),
        pulled_at=datetime.now(UTC),
        sha256="",
        **tally(kept),
    )
    _log.info("feedback on route %s: %s", source.route.name, manifest.counts)
    return write_pull(folder, manifest, kept)


_Said = tuple[Record, Feedback]


def _understood(
    records: Iterable[Record], source: FeedbackSource, outcomes: _Outcomes
) -> list[_Said]:
    """The valid feedback on the route."""
    found: list[_Said] = []
    for record in records:
        outcomes.counts["read"] += 1
        try:
            feedback = Feedback.model_validate_json(record.value or b"")
        except ValidationError:  # whose text holds the value
            outcomes.refuse("malformed", record)
            continue
        if feedback.route != source.route.name:
            outcomes.counts["other_route"] += 1
        elif not set(feedback.right) <= set(source.labels):
            outcomes.refuse("unknown_label", record)
        elif len(feedback.right) != 1 and source.problem == "single_label":
            outcomes.refuse("not_one_label", record)
        elif feedback.id and _place(feedback.id)[0].topic != source.route.input_topic:
            outcomes.refuse("foreign_id", record)
        else:
            found.append((record, feedback))
    return found


def _with_words(
    said: Sequence[_Said], route: RouteSettings, records: Reader, outcomes: _Outcomes
) -> Iterator[Correction]:
    """Each with its text, which is read from the route's input if it gives an id."""
    by_record: defaultdict[Partition, defaultdict[int, list[_Said]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for record, feedback in said:
        if feedback.id:
            partition, offset = _place(feedback.id)
            by_record[partition][offset].append((record, feedback))
        else:
            yield _correction(record, feedback, Message(body=feedback.text or ""))
    for partition, wanted in by_record.items():
        for offset, found in records.at(partition, wanted):
            message = found if isinstance(found, str) else _message(found, route)
            for record, feedback in wanted[offset]:
                if isinstance(message, str):
                    outcomes.refuse(message, record)
                elif isinstance(found, Record) and _another(found, record, feedback):
                    outcomes.refuse("other_log", record)
                else:
                    yield _correction(record, feedback, message)


def _another(found: Record, said: Record, feedback: Feedback) -> bool:
    """Whether the record at the id is not the one that was meant: its topic was made again, its log
    went back and was written anew, or it came after what is said of it.

    The label of a replay names the replay's epoch, which is never lower.
    """
    topic_id, epoch = found.mark.topic_id, found.mark.epoch
    if feedback.topic_id and topic_id and feedback.topic_id != topic_id:
        return True
    if feedback.epoch is not None and epoch is not None and epoch > feedback.epoch:
        return True
    if found.timestamp is None or said.timestamp is None:
        return False
    return found.timestamp > said.timestamp + _CLOCKS_MS


def _message(record: Record, route: RouteSettings) -> Message | str:
    """What the service read in a record, or why it could read nothing."""
    try:
        return CODECS[route.format](record.value or b"", route.parse_spec)
    except RecordError:
        return "unreadable"


def _correction(record: Record, feedback: Feedback, message: Message) -> Correction:
    return Correction(
        id=feedback.id,
        title=message.title,
        body=message.body,
        labels=feedback.right,
        who=feedback.who,
        when=feedback.when,
        logged=record.timestamp or 0,
        partition=record.partition.number,
        offset=record.offset,
    )


def _place(id_: str) -> tuple[Partition, int]:
    topic, number, offset = id_.split("/")
    return Partition(topic, int(number)), int(offset)


def _check(source: FeedbackSource, before: Sequence[Pull], folder: Path) -> None:
    for each in before:
        if (each.route, each.topic) != (source.route.name, source.topic):
            raise ConfigError(
                f"{folder} holds feedback on route {each.route} from topic {each.topic}: give "
                "another folder"
            )


def _goes_on(
    topic: str, topic_id: str | None, before: Sequence[Pull], ends: Offsets
) -> tuple[int, Offsets]:
    """Which log of the topic this is, counted from 1, and where reading it goes on."""
    if not before:
        return 1, {}
    last, starts = before[-1], next_offsets(before)
    another = None not in (topic_id, last.topic_id) and topic_id != last.topic_id
    if not another and all(ends.get(number, 0) >= start for number, start in starts.items()):
        return last.log, starts
    _log.warning(
        "topic %s was made again since the last pull, or lost its end: it is read from its "
        "beginning. What was pulled before stays",
        topic,
    )
    return last.log + 1, {}


def _missed(topic: str, starts: Offsets, begins: Offsets) -> int:
    """How many offsets were deleted before they were read."""
    missed = sum(max(0, begins.get(number, 0) - start) for number, start in starts.items())
    if missed:
        _log.warning(
            "%d offsets of topic %s were deleted before they were pulled: pull more often, or set "
            "its retention.ms higher",
            missed,
            topic,
        )
    return missed
