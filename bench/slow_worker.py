"""`winnow worker` whose engine takes SLOW_SECONDS a record without using a core.

Several on one machine are as many times as fast as one, as they are on machines of their own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from stream_app.__main__ import main
from stream_app.engine import ENGINES
from stream_app.engine.fake import FakeEngine
from stream_app.engine.protocol import TokenIds
from stream_app.model.artifact import Artifact

BACKEND = "slow"


def load(artifact: Artifact, device: str, precision: str, threads: int) -> FakeEngine:
    """The shipped fake behind a pause for each record of a batch."""
    del device, precision, threads
    seconds = float(os.environ["SLOW_SECONDS"])

    def pause(batch: Sequence[TokenIds]) -> None:
        time.sleep(seconds * len(batch))

    return FakeEngine(artifact.card.labels, before=pause)


if __name__ == "__main__":
    ENGINES[BACKEND] = "bench.slow_worker:load"  # type: ignore[index] -- the row of a new engine
    main()
