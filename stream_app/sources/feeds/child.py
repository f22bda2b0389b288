"""The child process of `Readers`: a document in, its items out, within limits.

Each message is a line of JSON, and behind it as many bytes as the line says. A document of fifteen
megabytes keeps the interpreter busy for long, and a hostile one might for ever: here only the
documents behind it wait, and the kernel ends it.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time
from contextlib import suppress
from typing import Any, BinaryIO

from stream_app.core.errors import FeedError
from stream_app.sources.feeds.reading import read_feed

MEMORY_BYTES = 2**30
MAX_ANSWER_BYTES = 64 * 2**20


def main() -> None:
    """Answer until the documents end."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a library might print
    # no core file: it would hold text
    for kind, most in ((resource.RLIMIT_DATA, MEMORY_BYTES), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError):  # the limit is lower already
            resource.setrlimit(kind, (most, most))
    while question := sys.stdin.buffer.readline():
        _answer(json.loads(question), sys.stdin.buffer, answers)


def _answer(question: dict[str, Any], documents: BinaryIO, answers: BinaryIO) -> None:
    document = documents.read(question["bytes"])
    _allow(question["seconds"])
    said: dict[str, str | int]
    payload = bytearray()
    try:
        for item_id, value in read_feed(document, question["url"], question["feed"]):
            payload += json.dumps(item_id).encode() + b"\n" + value + b"\n"
            if len(payload) > MAX_ANSWER_BYTES:
                raise FeedError("too_large", "its items are larger than their document")
        said = {"bytes": len(payload)}
    except FeedError as error:
        said, payload = {"reason": error.reason, "why": str(error)}, bytearray()
    except MemoryError:
        said = {"reason": "too_large", "why": "reading it takes more memory than any feed should"}
        payload = bytearray()
    except Exception as error:  # of a parser: this document is not read, whatever is wrong
        said = {"reason": "unreadable", "why": f"the parsers fail on it: {type(error).__name__}"}
        payload = bytearray()
    answers.write(json.dumps(said).encode() + b"\n" + payload)
    answers.flush()


def _allow(seconds: int) -> None:
    """Be ended by the kernel after so many more seconds of processor time."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + seconds, hard))


if __name__ == "__main__":
    main()
