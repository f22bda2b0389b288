"""`winnow-train refresh` in processes that are killed, each a step later than the one before.

At the worst point of each step: its work is done, and nobody noted it. Imports are made once, the
processes forked.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from training.__main__ import main
from training.refreshing.run_folder import Run

STEPS = ("pull", "merge", "fit", "head", "seal", "gates", "register", "promote", "report")


def killed_at(step: str) -> int:
    """Run the command of this process's arguments until a step; the signal that ended it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    mark = Run.mark

    def until(run: Run, name: str, found: Mapping[str, Any]) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)
        mark(run, name, found)

    Run.mark = until  # type: ignore[method-assign]
    main()
    os._exit(0)


if __name__ == "__main__":
    import_module("training.refreshing.refresh")  # so that no child has to
    for step in STEPS:
        sys.stdout.write(f"{step} {killed_at(step)}\n")
        sys.stdout.flush()
    main()
