"""Documents read in child processes, so that no document holds up anything but itself."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import AbstractAsyncContextManager, suppress

from stream_app.core.errors import FeedError
from stream_app.core.tether import tethered
from stream_app.sources.feeds.child import MAX_ANSWER_BYTES
from stream_app.sources.feeds.fetching import Fetched
from stream_app.sources.feeds.reading import Read

READ_SECONDS = 60  # of processor time: a busy machine is no fault of a document
WAIT_SECONDS = 900.0
LAST_SECONDS = 5.0  # of a process whose pipe is closed already
CHILDREN = 2  # a slow document takes one, and the others go on


class Readers(AbstractAsyncContextManager["Readers"]):
    """Reads documents, CHILDREN at once. A child that takes too long or too much is replaced."""

    def __init__(self) -> None:
        self._free: asyncio.Queue[_Child] = asyncio.Queue()
        self._all = [_Child() for _ in range(CHILDREN)]
        for child in self._all:
            self._free.put_nowait(child)

    async def __aexit__(self, *error: object) -> None:
        for child in self._all:
            await child.end()

    async def read(self, document: Fetched, feed: str) -> list[Read]:
        """The items of a document. Raises FeedError."""
        child = await self._free.get()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await child.ask(document, feed)
        except (OSError, EOFError, ValueError):  # TimeoutError is an OSError
            if await child.end(LAST_SECONDS) == -signal.SIGXCPU:
                why = f"it is not read in {READ_SECONDS} s of processor time"
                raise FeedError("too_large", why) from None
            raise FeedError("unreadable", "the process that reads it failed") from None
        except BaseException:  # told to stop: half a question may be asked
            await child.end()
            raise
        finally:
            self._free.put_nowait(child)


class _Child:
    """One process, started when it is asked."""

    def __init__(self) -> None:
        self._process: Process | None = None

    async def ask(self, document: Fetched, feed: str) -> list[Read]:
        """Raises FeedError as the child does, OSError, EOFError and ValueError where it fails."""
        if self._process is None:
            self._process = await _started()
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        about = {"url": document.url, "feed": feed, "seconds": READ_SECONDS}
        question = about | {"bytes": len(document.body)}
        stdin.write(json.dumps(question).encode() + b"\n" + document.body)
        await stdin.drain()
        said = json.loads(await stdout.readline())
        if "reason" in said:
            raise FeedError(str(said["reason"]), str(said["why"]))
        if not 0 <= said["bytes"] <= 2 * MAX_ANSWER_BYTES:
            raise ValueError(said["bytes"])
        lines = (await stdout.readexactly(said["bytes"])).split(b"\n")[:-1]
        return [(json.loads(name), value) for name, value in zip(*[iter(lines)] * 2, strict=True)]

    async def end(self, patience: float = 0.0) -> int:
        """Have no process any more; the next question starts another. How the process ended: it
        has so many seconds to do that by itself."""
        process, self._process = self._process, None
        if process is None:
            return 0
        try:
            async with asyncio.timeout(patience):
                return await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            return await process.wait()


async def _started() -> Process:
    command = [sys.executable, "-m", "stream_app.sources.feeds.child"]
    # a process group of its own, so that Ctrl-C reaches the parent only
    return await asyncio.create_subprocess_exec(
        *tethered(command), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, process_group=0
    )
