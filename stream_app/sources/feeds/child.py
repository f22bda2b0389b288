"""The child process of `Readers`: a document in, its items out, within limits.

Each message is a line of JSON, and behind it as many bytes as the line says. A document of fifteen
megabytes keeps the interpreter busy for long, and a hostile one might for ever: here only the
documents behind it wait, and the parent ends it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from contextlib import suppress
from typing import BinaryIO

from stream_app.core.errors import FeedError
from stream_app.sources.feeds.reading import read_feed

MEMORY_BYTES = 2**30
MAX_ANSWER_BYTES = 64 * 2**20


def main() -> None:
    """Answer until the documents end."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a library might print
    with suppress(ValueError):  # the limit is lower already
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    while question := sys.stdin.buffer.readline():
        _answer(json.loads(question), sys.stdin.buffer, answers)


def _answer(question: dict[str, str], documents: BinaryIO, answers: BinaryIO) -> None:
    document = documents.read(int(question["bytes"]))
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


if __name__ == "__main__":
    main()
