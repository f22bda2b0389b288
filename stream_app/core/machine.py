"""What this machine lets the process use."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # "MICROSECONDS PERIOD" or "max PERIOD"


def cores(quota: Path = QUOTA) -> int:
    """Cores the process may use: its affinity, and the CPU limit of its container."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    available = len(os.sched_getaffinity(0))
    try:
        limit, period = quota.read_text().split()
    except (OSError, ValueError):
        return available
    return available if limit == "max" else min(available, math.ceil(int(limit) / int(period)))


def has_nvidia_gpu() -> bool:
    """Whether a driver is present; without torch, whose import takes seconds."""
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg"))
