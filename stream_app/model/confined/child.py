"""The child process of `ConfinedRegistry`: one JSON line in, one JSON line out.

Its memory and file sizes are limited, and it ends with its parent.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, TextIO

from stream_app.core.errors import ModelError, WinnowError
from stream_app.model.registry import RegisteredVersion, Registry, mlflow_client_class

MEMORY_BYTES = 2**30
FILE_BYTES = 8 * 2**30  # a last resort: the parent gives up long before
TOLD = ("name", "version", "digest", "aliases", "source", "created")  # of a version
MESSAGE = 2000  # characters of an error


def main(asked: type[Registry] = Registry) -> None:
    """Answer until the questions end, by the methods of `asked`."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print to stdout
    for kind, most in ((resource.RLIMIT_DATA, MEMORY_BYTES), (resource.RLIMIT_FSIZE, FILE_BYTES)):
        with suppress(ValueError):  # the limit is lower already
            resource.setrlimit(kind, (most, most))
    with suppress(ModelError):  # reported with the first answer
        mlflow_client_class()
    registry, questions = asked(sys.argv[1]), Queue[str]()
    Thread(target=_read, args=(sys.stdin, questions), daemon=True).start()
    while True:
        print(json.dumps("ready"), file=answers, flush=True)
        answer = _answer(registry, json.loads(questions.get()))
        print(json.dumps(answer), file=answers, flush=True)


def _read(lines: TextIO, questions: Queue[str]) -> None:
    for line in lines:
        questions.put(line)
    os._exit(0)  # the parent is gone


def _answer(registry: Registry, question: Mapping[str, Any]) -> dict[str, Any]:
    """What a method of `Registry` returns, in plain types; or its error."""
    try:
        return {"said": _plain(getattr(registry, question["method"])(*question["arguments"]))}
    except WinnowError as error:
        return {"error": type(error).__name__, "message": str(error)[:MESSAGE]}


def _plain(said: object) -> object:
    match said:
        case list():
            return [_plain(each) for each in said]
        case Path():
            return str(said)
        case RegisteredVersion():
            told = {key: getattr(said, key) for key in TOLD}
            return told | {"created": said.created.isoformat()}
    return said


if __name__ == "__main__":
    main()
