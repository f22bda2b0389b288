"""Logging: one line an event on stderr, floods folded into a count."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable


class RateLimit(logging.Filter):
    """Lets a message template through once every `every` seconds, then says how many it held back.

    While a broker is down Faust and aiokafka write thousands of identical errors.
    """

    def __init__(self, every: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every = every
        self._clock = clock
        self._seen: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """True where the record may be written; its text gains the count held back before it."""
        if record.levelno < logging.WARNING:
            return True
        key = (record.name, record.levelno, str(record.msg)[:120])
        now = self._clock()
        last, held = self._seen.get(key, (-self._every, 0))
        if now - last < self._every:
            self._seen[key] = (last, held + 1)
            return False
        self._seen[key] = (now, 0)
        if held:
            record.msg = f"{record.getMessage()} [{held} more like this held back]"
            record.args = None
        return True


def configure_logging(level: str) -> None:
    """Send all logs to stderr at `level`; third parties' only from WARNING on."""
    handler = logging.StreamHandler()
    handler.addFilter(RateLimit())
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("stream_app").setLevel(level.upper())
