"""The reviews as if the last one were written now: `python until_now.py reviews.csv > new.csv`.

The file's times are of one month; the dashboard shows the last thirty days.
"""

from __future__ import annotations

import csv
import sys
from datetime import UTC, datetime


def main() -> None:
    """Move all times by the same span."""
    with open(sys.argv[1], encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    times = [datetime.fromisoformat(row["time"]) for row in rows]
    later = datetime.now(UTC) - max(times)
    out = csv.DictWriter(sys.stdout, rows[0].keys(), lineterminator="\n")
    out.writeheader()
    for row, time in zip(rows, times, strict=True):
        out.writerow(row | {"time": (time + later).isoformat(timespec="seconds")})


main()
