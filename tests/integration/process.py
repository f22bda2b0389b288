"""A command of Winnow's as a process: its log, its end, and what it says over HTTP."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

PATIENCE = 180.0  # seconds; a machine may have much else to do


class Worker:
    """`winnow worker`, or another command with a configuration, as a process of its own."""

    def __init__(
        self,
        config: Path,
        log: Path,
        environment: dict[str, str],
        module: str = "stream_app",
        command: Sequence[str] = ("worker",),
        inside: Sequence[str] = (),
    ) -> None:
        self.log = log
        self.port = environment.get("WINNOW_METRICS__PORT")
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [*inside, sys.executable, "-m", module, *command, "--config", str(config)],
                stdout=out,
                stderr=out,
                env=os.environ | environment,
            )

    @property
    def output(self) -> str:
        """What it wrote so far."""
        return self.log.read_text(errors="replace")

    @property
    def failed(self) -> bool:
        """Whether it ended by itself; a test's own SIGKILL is no failure."""
        return self.process.poll() not in (None, 0, -signal.SIGKILL)

    def consumed(self) -> int:
        """Records it read, by its own metrics (its port must be given)."""
        _, text = get(f"http://127.0.0.1:{self.port}/metrics")
        found = re.search(r"^winnow_records_consumed_total\S* (\S+)$", text, re.MULTILINE)
        return int(float(found[1])) if found else 0

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = PATIENCE) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def wait_for_log(self, text: str, seconds: float = PATIENCE) -> None:
        """Return once the worker has logged `text`."""
        deadline = time.monotonic() + seconds
        while text not in self.output:
            if self.process.poll() is not None:  # with these words, perhaps
                assert text in self.output, f"it ended:\n{self.output[-3000:]}"
                return
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.output[-3000:]}"
            time.sleep(0.05)  # a process's log offers no event to await


def get(url: str) -> tuple[int, str]:
    """Status and body of an HTTP request; status 0 where nobody answers, yet or any more."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except (OSError, HTTPException) as error:
        return 0, str(error)


def wait_until_ready(url: str, seconds: float = PATIENCE) -> None:
    """Return once /readyz says so."""
    deadline = time.monotonic() + seconds
    while (answer := get(f"{url}/readyz"))[0] != 200:
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)  # HTTP offers no event to await


def wait_until_unready(url: str, why: str, seconds: float = PATIENCE) -> None:
    """Return once /readyz says that it is not, and these words why."""
    deadline = time.monotonic() + seconds
    while (answer := get(f"{url}/readyz"))[0] != 503 or why not in answer[1]:
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)  # HTTP offers no event to await


def wait_for_metric(url: str, name: str, value: str, seconds: float = PATIENCE) -> str:
    """The page of metrics, once one of them has the value."""
    deadline = time.monotonic() + seconds
    while f"{name} {value}\n" not in (text := get(f"{url}/metrics")[1]):
        assert time.monotonic() < deadline, [x for x in text.split("\n") if x.startswith(name[:20])]
        time.sleep(0.1)  # HTTP offers no event to await
    return text
