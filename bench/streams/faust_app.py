"""Plain Faust: an agent that takes 32 mails at a time, and a transformers pipeline.

python bench/streams/faust_app.py HOST:PORT TOPIC MODEL MAX_TOKENS SESSION_SECONDS

What the two documentations show, put together in an afternoon. Where that leaves a choice, the
better one is taken: the model is in float32, and the pipeline runs beside the event loop.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import faust
from streams.mail_text import mail_text
from transformers import pipeline

BATCH = 32
WITHIN = 0.1  # seconds a batch waits for more


def main(address: str, topic: str, model: str, max_tokens: str, session: str) -> None:
    app = faust.App(
        topic,
        broker=f"kafka://{address}",
        broker_session_timeout=float(session),
        web_enabled=False,
        topic_disable_leader=True,
    )
    mails = app.topic(topic, value_type=bytes, value_serializer="raw")
    labels = app.topic(f"{topic}.labels", value_serializer="json")
    classify = pipeline(
        "text-classification",
        model=model,
        batch_size=BATCH,
        truncation=True,
        max_length=int(max_tokens),
    )

    @app.agent(mails)
    async def label(stream: Any) -> None:
        # as take(), but with the offsets, which the ids are made of
        async for events in stream.take_events(BATCH, within=WITHIN):
            texts = [mail_text(event.value) for event in events]
            answers = await asyncio.to_thread(classify, texts)
            for event, answer in zip(events, answers, strict=True):
                message = event.message
                value = {
                    "id": f"{message.topic}/{message.partition}/{message.offset}",
                    "label": answer["label"],
                    "confidence": answer["score"],
                    "source": {"timestamp": round(message.timestamp * 1000)},
                }
                await labels.send(value=value)

    faust.Worker(app, loglevel="info").execute_from_commandline()


if __name__ == "__main__":
    main(*sys.argv[1:])
