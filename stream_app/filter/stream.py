"""Labels from the workers: a message goes to its input topic, and its answer is known by its id.

Two threads of kafka-python work for the event loop: its producer's own, and one that follows the
label and dead-letter topics from their ends, in no consumer group. All else is on the loop.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from threading import Event, Thread
from types import TracebackType
from typing import Any

from kafka import KafkaConsumer
from kafka.errors import KafkaError
from pydantic import ValidationError

from stream_app.core.errors import NoLabel, WinnowError
from stream_app.core.headers import CE_ID, ERROR, SOURCE
from stream_app.core.health import Health
from stream_app.core.label_record import LabelRecord
from stream_app.core.messages import Record
from stream_app.core.settings import KafkaClientSettings, RouteSettings
from stream_app.kafka.connect import RECONNECT_MAX_MS, connected
from stream_app.kafka.reading import LOOK_MS, record, take, take_added
from stream_app.kafka.sending import TOO_LARGE, producing
from stream_app.kafka.topics import require_topics

log = logging.getLogger(__name__)

CONFIRM_SHARE = 0.75  # of the deadline: a delivery that takes longer leaves no time for a label
MAX_EARLY = 4096  # answers kept that came before the delivery report of their message
POLL_MS = 1000
RETRY_SECONDS = 1.0
_CODE = re.compile(r"[a-z_]{1,40}")

Answer = bytes | NoLabel  # a label record, or a dead letter


class Stream:
    """For the length of an `async with` block. While there is no broker it looks for one."""

    def __init__(
        self,
        kafka: KafkaClientSettings,
        routes: Sequence[RouteSettings],
        deadline_seconds: float,
        health: Health,
    ) -> None:
        kafka.client_arguments()  # raises ConfigError here rather than for ever on the thread
        self._kafka = kafka
        self._inputs = [route.input_topic for route in routes]
        self._labels = [route.output_topic for route in routes]
        self._dead_letters = [route.dead_letter_topic for route in routes]
        self._confirm_ms = round(deadline_seconds * CONFIRM_SHARE * 1000)
        self._health = health
        self._producer: Any = None  # while connected
        self._waiting: dict[str, asyncio.Future[Answer]] = {}  # by id
        self._early: dict[str, Answer] = {}
        self._closing = Event()
        # a topic that is missing holds up what goes to it, and nothing else
        self._senders = defaultdict[str, Executor](lambda: ThreadPoolExecutor(1, "filter-sender"))

    async def __aenter__(self) -> Stream:
        self._loop = asyncio.get_running_loop()
        self._health.unready("broker", "not connected yet")
        self._reader = Thread(target=self._follow, name="filter-reader", daemon=True)
        self._reader.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.set()
        for sender in self._senders.values():
            sender.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._reader.join, 2 * POLL_MS / 1000)

    async def ask(self, route: RouteSettings, value: bytes, key: bytes | None) -> LabelRecord:
        """The label of a message. Raises NoLabel: `broker`, `too_large`, `dead_letter`."""
        record_id = await self.deliver(route.input_topic, value, key)
        answer = self._early.pop(record_id, None)
        if answer is None:
            waiting = self._waiting[record_id] = self._loop.create_future()
            try:
                answer = await waiting
            finally:
                self._waiting.pop(record_id, None)
        if isinstance(answer, NoLabel):
            raise answer
        try:
            # a worker may be newer than we are, and say more
            return LabelRecord.model_validate_json(answer, extra="ignore")
        except ValidationError as error:  # anyone may write to a topic
            raise NoLabel("failed") from error

    async def deliver(self, topic: str, value: bytes, key: bytes | None) -> str:
        """Send a record; its id, once the broker has confirmed it.

        Raises NoLabel: `broker`, `too_large`.
        """
        producer = self._producer
        if producer is None:
            raise NoLabel("broker")
        report: asyncio.Future[Any] = self._loop.create_future()

        def settle(outcome: Any) -> None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(_settle, report, outcome)

        def send() -> None:
            try:
                sent = producer.send(topic, value, key)
            except KafkaError as error:
                settle(error)
            else:
                sent.add_callback(settle).add_errback(settle)

        await self._loop.run_in_executor(
            self._senders[topic], send
        )  # it may wait for the topic's leaders
        try:
            found = await report
        except TOO_LARGE as error:
            raise NoLabel("too_large") from error
        except KafkaError as error:
            self._tell_health(topic, f"it confirms nothing ({type(error).__name__})")
            raise NoLabel("broker") from error
        self._tell_health(topic, None)
        return f"{found.topic}/{found.partition}/{found.offset}"

    def _tell_health(self, topic: str, problem: str | None) -> None:
        if topic in self._inputs:  # mail is labelled whether or not anybody learns from it
            self._health.unready("broker", problem)

    def _follow(self) -> None:
        """The reader's thread: connect, hand answers to the loop, and again after any failure."""
        while not self._closing.is_set():
            try:
                self._connect_and_read()
            except (WinnowError, KafkaError) as error:
                self._health.unready("broker", str(error))
                log.warning("no labels for now: %s", error)
            except Exception as error:  # whatever it is, messages pass and we try again
                log.error("the reader failed: %s", type(error).__name__)
            finally:
                self._producer = None
            self._closing.wait(RETRY_SECONDS)

    def _connect_and_read(self) -> None:
        topics = [*self._labels, *self._dead_letters]
        require_topics(self._kafka, [*self._inputs, *topics])
        ours: dict[str, Any] = {"reconnect_backoff_max_ms": RECONNECT_MAX_MS}
        times = {"delivery_timeout_ms": self._confirm_ms, "request_timeout_ms": self._confirm_ms}
        with (
            connected(
                KafkaConsumer,
                self._kafka,
                isolation_level="read_committed",
                auto_offset_reset="earliest",  # of a topic that was made again, or expired
                metadata_max_age_ms=LOOK_MS,
                **ours,
            ) as consumer,
            producing(self._kafka, max_block_ms=self._confirm_ms, **times, **ours) as producer,
        ):
            take(consumer, sorted(set(topics)), from_beginning=False)
            for partition in consumer.assignment():
                consumer.position(partition)  # before the first message is sent
            self._producer = producer
            self._health.unready("broker", None)
            log.info("asking by %s", ", ".join(self._inputs))
            while not self._closing.is_set():
                take_added(consumer, topics)
                polled = consumer.poll(timeout_ms=POLL_MS).values()
                self._hand_over([record(found) for records in polled for found in records])

    def _hand_over(self, records: Sequence[Record]) -> None:
        answers = {record_id: answer for record_id, answer in map(self._answer, records) if answer}
        if answers:
            self._loop.call_soon_threadsafe(self._arrived, answers)

    def _answer(self, found: Record) -> tuple[str, Answer | None]:
        """What a record answers, by the id in its headers: most are for others, and stay unread."""
        if found.partition.topic in self._dead_letters:
            code = found.header(ERROR) or ""
            reason = NoLabel("dead_letter", code if _CODE.fullmatch(code) else "")
            return found.header(SOURCE) or "", reason
        return found.header(CE_ID) or "", found.value

    def _arrived(self, answers: dict[str, Answer]) -> None:
        for record_id, answer in answers.items():
            waiting = self._waiting.pop(record_id, None)
            if waiting is None:
                self._early[record_id] = answer
            elif not waiting.done():
                waiting.set_result(answer)
        while len(self._early) > MAX_EARLY:
            del self._early[next(iter(self._early))]


def _settle(report: asyncio.Future[Any], outcome: Any) -> None:
    if report.done():  # nobody waits any more
        return
    if isinstance(outcome, BaseException):
        report.set_exception(outcome)
    else:
        report.set_result(outcome)
