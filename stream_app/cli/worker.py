"""`winnow worker`: one process that labels, or several under one parent."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from stream_app.cli.options import ConfigFile
from stream_app.configuration import load_settings
from stream_app.core.logs import configure_logging
from stream_app.core.machine import cores
from stream_app.core.settings import PREFIX, Settings
from stream_app.core.tether import tethered

LogLevel = Literal["debug", "info", "warning", "error"]

STOP_SECONDS = 30.0  # a worker settles its deliveries in far less


def worker(
    config: ConfigFile,
    processes: Annotated[
        int, typer.Option(min=1, help="Worker processes; each takes a share of the partitions.")
    ] = 1,
    log_level: Annotated[LogLevel, typer.Option(help="Level of Winnow's log, on stderr.")] = "info",
) -> None:
    """Label the records of every route until SIGTERM or Ctrl-C.

    With --processes N the processes divide the cores and serve metrics on port, port + 1, …. If one
    fails, all stop and the exit code is 1.
    """
    settings = load_settings(config)
    if processes > 1:
        raise typer.Exit(asyncio.run(_supervise(config, log_level, _shares(settings, processes))))
    from stream_app.worker import (
        run_worker,  # Faust and its like: a second that --help has no use for
    )

    configure_logging(log_level)
    raise typer.Exit(run_worker(settings))


def worker_command(config: Path, log_level: LogLevel) -> list[str]:
    """The command of one worker process that ends when this process does."""
    command = [sys.executable, "-m", "stream_app", "worker"]
    return tethered([*command, "--config", str(config), "--log-level", log_level])


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


async def _supervise(config: Path, log_level: LogLevel, shares: Sequence[Mapping[str, str]]) -> int:
    """Run one worker a share; 0 if all were asked to stop and ended well."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    workers = [
        await asyncio.create_subprocess_exec(
            *worker_command(config, log_level), env=os.environ | share, process_group=0
        )
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
    if told.is_set() and not any(codes):
        return 0
    typer.echo(f"winnow: a worker process failed, so all were stopped (codes {codes})", err=True)
    return 1
