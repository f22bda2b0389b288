"""A route's own threads, so that a slow route delays only itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

from stream_app.pipeline.work import Batch, Work

BATCHES_AT_ONCE = 2  # so that no core waits for the end of a batch
CLOSE_SECONDS = 5.0  # for a batch on the device to end


class Threads:
    """One for the host's work, so that order is kept; two for the device's; one for a shadow's."""

    def __init__(self, route: str) -> None:
        self._host = ThreadPoolExecutor(1, thread_name_prefix=f"{route}-host")
        # an engine that takes no two batches at once makes one wait
        self.device = ThreadPoolExecutor(BATCHES_AT_ONCE, thread_name_prefix=f"{route}-device")
        self.shadow = ThreadPoolExecutor(1, thread_name_prefix=f"{route}-shadow")

    async def on_host(self, step: Callable[[Sequence[Work]], None], works: Sequence[Work]) -> None:
        """Parse or encode, off the event loop."""
        await asyncio.get_running_loop().run_in_executor(self._host, step, works)

    async def on_device(self, step: Callable[[Batch], Batch], batch: Batch) -> Batch:
        """Classify, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.device, step, batch)

    def close(self) -> bool:
        """Let them end; False if one is stuck."""
        deadline = time.monotonic() + CLOSE_SECONDS
        pools = (self._host, self.device, self.shadow)
        ends = [Thread(target=pool.shutdown, daemon=True) for pool in pools]
        for end in ends:
            end.start()
        for end in ends:
            end.join(max(0.0, deadline - time.monotonic()))
        return not any(end.is_alive() for end in ends)
