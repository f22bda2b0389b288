"""Senders: a producer that does not stop is ended all the same."""

import asyncio

import pytest

from stream_app.services.sending import send


class Hung:
    """A producer whose stop waits for a delivery that never comes."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self._sender = self.client = self  # the client library's own names

    async def stop(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.ended.append("closed")


async def test_a_producer_that_does_not_stop_is_not_left_running(monkeypatch: pytest.MonkeyPatch):
    """Its sender would deliver later what was sent again by then."""
    monkeypatch.setattr(send, "CLOSE_SECONDS", 0.001)
    producer = Hung()
    await send.stopped(producer)
    assert producer.ended == ["closed", "closed"], "its sender, then its connections"
