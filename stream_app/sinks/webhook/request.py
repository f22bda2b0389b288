"""One attempt to deliver a label, and what its answer means."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from stream_app.core.label_record import LabelRecord
from stream_app.sinks.webhook.signing import headers, message_id, payload
from stream_app.web.retry_after import retry_after

MAX_WAIT_SECONDS = 3600.0  # of a Retry-After
ENOUGH_BYTES = 4096  # of an answer, which nobody reads


@dataclass(frozen=True)
class Outcome:
    """Delivered where `problem` is empty. It never holds the address: that may hold a secret."""

    problem: str = ""
    wait_seconds: float = 0.0
    gone: bool = False


class Receiver:
    """Where labels go: at most so many requests at once. Redirects are not followed."""

    def __init__(
        self, url: str, secrets: Sequence[bytes], max_requests: int, timeout_seconds: float
    ) -> None:
        self._url = url
        self._secrets = secrets
        self._room = asyncio.Semaphore(max_requests)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=max_requests),
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def deliver(self, label: LabelRecord) -> Outcome:
        """Send one label, once there is room."""
        body = payload(label)
        async with self._room:
            signed = headers(self._secrets, message_id(label), body, int(time.time()))
            try:
                async with self._session.post(
                    self._url, data=body, headers=signed, allow_redirects=False
                ) as answer:
                    await answer.content.read(ENOUGH_BYTES)  # so that the connection is kept
                    return _meaning(answer.status, answer.headers.get("Retry-After", ""))
            except TimeoutError:
                return Outcome("the receiver did not answer in time")
            except aiohttp.ClientError as error:
                return Outcome(f"the receiver cannot be reached ({type(error).__name__})")

    async def close(self) -> None:
        """Hang up."""
        await self._session.close()


def _meaning(status: int, wait_for: str) -> Outcome:
    if 200 <= status < 300:
        return Outcome()
    if 300 <= status < 400:
        return Outcome(f"the receiver redirects ({status}): set webhook.url to where it is now")
    wait = retry_after(wait_for, MAX_WAIT_SECONDS) if status in (429, 503) else 0.0
    return Outcome(f"the receiver answers {status}", wait, gone=status == 410)
