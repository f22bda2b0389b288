"""What only the workers know: drift, from their /metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

EVERY_SECONDS = 5.0
TIMEOUT = aiohttp.ClientTimeout(total=3.0)
MAX_BYTES = 4 * 1024 * 1024
DRIFT = "winnow_drift_score"


@dataclass(slots=True)
class Workers:
    """Asks each worker every few seconds. `addresses` are the HOST:PORT of their metrics."""

    addresses: Sequence[str]
    silent: Sequence[str] = ()  # addresses that did not answer
    drift: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # by route, statistic

    async def run(self) -> None:
        """Ask until cancelled."""
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            while True:
                began = time.monotonic()
                answers = await asyncio.gather(*(_asked(session, a) for a in self.addresses))
                self.silent = [
                    address
                    for address, answer in zip(self.addresses, answers, strict=True)
                    if answer is None
                ]
                self.drift = _worst([_drift(answer) for answer in answers if answer is not None])
                await asyncio.sleep(max(0.0, began + EVERY_SECONDS - time.monotonic()))


async def _asked(session: aiohttp.ClientSession, address: str) -> str | None:
    try:
        async with session.get(f"http://{address}/metrics") as response:
            body = await response.content.read(MAX_BYTES)
            return body.decode("utf-8", "replace") if response.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None


def _drift(metrics: str) -> dict[tuple[str, str], float]:
    """The drift of one worker by route and statistic."""
    try:
        return {
            (sample.labels["route"], sample.labels["statistic"]): sample.value
            for family in text_string_to_metric_families(metrics)
            if family.name == DRIFT
            for sample in family.samples
        }
    except (ValueError, KeyError):  # somebody else listens there
        return {}


def _worst(found: Sequence[Mapping[tuple[str, str], float]]) -> Mapping[str, Mapping[str, float]]:
    """The highest score that any worker has."""
    worst: dict[str, dict[str, float]] = {}
    for each in found:
        for (route, statistic), score in each.items():
            of_route = worst.setdefault(route, {})
            of_route[statistic] = max(score, of_route.get(statistic, score))
    return worst
