"""`winnow worker`: one process that labels, or several under one parent."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from stream_app.cli.options import ConfigFile, Format, Level, LogLevel
from stream_app.configuration import load_settings
from stream_app.core.errors import WinnowError
from stream_app.core.logs import LogFormat, configure_logging
from stream_app.core.machine import cores
from stream_app.core.settings import PREFIX, Settings
from stream_app.core.tether import tethered

STOP_SECONDS = 30.0  # a worker settles its deliveries in far less


def worker(
    config: ConfigFile,
    processes: Annotated[
        int, typer.Option(min=1, help="Worker processes; each takes a share of the partitions.")
    ] = 1,
    log_level: Level = "info",
    log_format: Format = "text",
) -> None:
    """Label the records of every route until SIGTERM or Ctrl-C.

    With --processes N the processes divide the cores and serve metrics on port, port + 1, …. If one
    fails, all stop and the exit code is 1.
    """
    configure_logging(log_level, log_format)
    settings = load_settings(config)
    if processes > 1:
        command = worker_command(config, log_level, log_format)
        asyncio.run(_supervise(command, _shares(settings, processes)))
        return
    from stream_app.worker import (
        run_worker,  # Faust and its like: a second that --help has no use for
    )

    raise typer.Exit(run_worker(settings))


def worker_command(
    config: Path, log_level: LogLevel = "info", log_format: LogFormat = "text"
) -> list[str]:
    """The command of one worker process that ends when this process does."""
    command = [sys.executable, "-m", "stream_app", "worker", "--config", str(config)]
    return tethered([*command, "--log-level", log_level, "--log-format", log_format])


def _shares(settings: Settings, processes: int) -> list[Mapping[str, str]]:
    """Settings of each process that differ from the file's: its port and its share of the cores."""
    port = settings.metrics.port
    threads = settings.engine.threads or max(1, cores() // processes)
    return [
        {
            f"{PREFIX}METRICS__PORT": str(port + number if port else 0),
            f"{PREFIX}ENGINE__THREADS": str(threads),
        }
        for number in range(processes)
    ]


async def _supervise(command: Sequence[str], shares: Sequence[Mapping[str, str]]) -> None:
    """Run one worker a share. Raises WinnowError unless all were told to stop and ended well."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    workers = [
        await asyncio.create_subprocess_exec(*command, env=os.environ | share, process_group=0)
        for share in shares
    ]
    ends = [asyncio.create_task(process.wait()) for process in workers]
    stop = asyncio.create_task(told.wait())
    await asyncio.wait({*ends, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    for process in workers:
        if process.returncode is None:
            process.terminate()
    _, late = await asyncio.wait(ends, timeout=STOP_SECONDS)
    for process in workers if late else ():
        if process.returncode is None:
            process.kill()
    codes = await asyncio.gather(*ends)
    if not told.is_set() or any(codes):
        raise WinnowError(f"a worker process failed, so all were stopped (codes {codes})")
