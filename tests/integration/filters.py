"""`winnow filter` as a process of its own, with a worker that labels for it."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.conftest import free_port
from tests.integration.harness import Stage
from tests.integration.process import Worker, get, wait_until_ready


@dataclass(frozen=True)
class Filter:
    """A running `winnow filter`."""

    process: Worker
    url: str

    def outcomes(self, of: str = "filter_messages") -> Counter[str]:
        """How many messages of all routes had which outcome; or `corrections`."""
        text = get(f"{self.url}/metrics")[1]
        found = re.findall(rf'winnow_{of}_total\{{outcome="(\w+)".*\}} (\S+)', text)
        counts = Counter[str]()
        for outcome, count in found:
            counts[outcome] += int(float(count))
        return counts


@contextmanager
def running_filter(
    stage: Stage, listen: str, *options: str, port: int | None = None
) -> Iterator[Filter]:
    """A filter that is ready, killed at the end where it still runs; HTTP is at `port`."""
    port = port or free_port()
    log = stage.folder / f"filter-{uuid.uuid4().hex[:6]}.log"
    command = ("filter", "--listen", listen, "--http", f"127.0.0.1:{port}", *options)
    process = Worker(stage.config, log, {}, command=command)
    try:
        wait_until_ready(url := f"http://127.0.0.1:{port}")
        yield Filter(process, url)
        assert not process.failed, process.output
    finally:
        process.kill()


@contextmanager
def ready_worker(stage: Stage) -> Iterator[Worker]:
    """A worker that labels."""
    port = free_port()
    with stage.worker(WINNOW_METRICS__PORT=str(port)) as worker:
        wait_until_ready(f"http://127.0.0.1:{port}")
        yield worker
