"""Label records, and an asker that answers as it is told."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from stream_app.core.label_record import LabelRecord, ModelVersion, Source
from stream_app.core.settings import RouteSettings


def labelled(decision: str = "ham", confidence: float = 0.9, **changes: object) -> LabelRecord:
    return LabelRecord(
        id="in/0/7",
        route="mail",
        label=decision,
        labels=[decision],
        confidence=confidence,
        scores={decision: confidence},
        decision=decision,
        model=ModelVersion(name="spam", version="4", digest="d"),
        source=Source(topic="in", partition=0, offset=7, timestamp=1),
        classified_at=datetime.now(UTC),
    ).model_copy(update=changes)


class Answers:
    """Answers every message with `answer`, once `open`; keeps what it was asked."""

    def __init__(self, answer: LabelRecord | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[str, bytes, bytes | None]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.arrived = asyncio.Semaphore(0)

    async def ask(self, route: RouteSettings, value: bytes, key: bytes | None) -> LabelRecord:
        self.asked.append((route.name, value, key))
        self.arrived.release()
        await self.open.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def mail_route(**changes: object) -> RouteSettings:
    given = {"name": "mail", "format": "rfc822", "model": "m", "input_topic": "in"}
    return RouteSettings(**given | {"output_topic": "out"} | changes)
