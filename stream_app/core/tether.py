"""Children that do not outlive this process, even if it is killed.

`python tether.py PARENT PROGRAM ARGUMENT…` asks the kernel for a SIGTERM at the parent's end, then
becomes PROGRAM. That is Linux's; elsewhere the program just runs, and ends when it is stopped.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def tethered(command: Sequence[str]) -> list[str]:
    """`command` (its program by full path) as one that ends when the thread that starts it ends."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def stop(process: subprocess.Popen[bytes], patience: float) -> None:
    """End a child: SIGTERM, and SIGKILL if it is still there after `patience` seconds."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _become(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before the kernel knew
            sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
