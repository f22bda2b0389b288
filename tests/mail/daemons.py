"""Programs that run beside a test until it ends, and when they are ready."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stream_app.core.tether import stop, tethered

START_SECONDS = 300.0


@contextmanager
def daemon(command: Sequence[str], log: Path, port: int) -> Iterator[None]:
    """A program, once it listens on `port`; its first word is its full path."""
    with log.open("wb") as out:
        process = subprocess.Popen(tethered(command), stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(port):
            ended = process.poll() is not None or time.monotonic() > deadline
            assert not ended, f"{command[0]} does not start: {log.read_text()[-2000:]}"
            time.sleep(0.1)  # a port offers no event to await
        yield
    finally:
        stop(process, 30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
