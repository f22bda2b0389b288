"""Files whose messages are sent once: over restarts, and while files grow and come.

The state has a place for each file: how far it was sent, its size, and a digest of its beginning. A
file that begins as before and is longer is read on from there: lines, rows and mails are appended.
Any other change makes it a new file. A mail of a Maildir is known by its unique name, whichever
folder it is moved to, whatever flags it gets.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from stream_app.core.errors import SourceError
from stream_app.sources.files import File, Source
from stream_app.sources.messages import START, Found, Place
from stream_app.sources.state import State

log = logging.getLogger(__name__)

HEAD_BYTES = 1024
QUIET_SECONDS = 2.0  # what ends without a line's end may be written on, unless nobody does so long


@dataclass(frozen=True, slots=True)
class Look:
    """What a file is like. `head` is the digest of its first `head_bytes`."""

    size: int
    modified_ns: int
    head_bytes: int
    head: str


@dataclass(frozen=True, slots=True)
class Unsent:
    """A message to send, None behind the last of a file; and how its place stands after it."""

    found: Found | None
    place: str
    stands: dict[str, Any]


class Progress:
    """What of a source was not sent yet. With `follow` a file that cannot be read is logged, and
    the others go on."""

    def __init__(self, source: Source, state: State, follow: bool) -> None:
        self._source = source
        self._state = state
        self._follow = follow
        self._seen: dict[str, tuple[int, int]] = {}  # size and time of files read to their end

    def unsent(self) -> Iterator[Unsent]:
        """One pass over all files. Raises SourceError, unless it follows them."""
        for file in self._source.files():
            try:
                yield from self._of(file)
            except FileNotFoundError:
                continue  # moved since it was listed; a mail is where it was moved to
            except (OSError, SourceError) as error:
                if not self._follow:
                    raise
                log.warning("left out for now: %s", error)

    def _of(self, file: File) -> Iterator[Unsent]:
        place, stat = _place(file.path), file.path.stat()
        signature = (stat.st_size, stat.st_mtime_ns)
        if self._seen.get(place) == signature:
            return
        before = self._state.place(place)
        if (before.get("size"), before.get("modified_ns")) == signature and before.get("done"):
            self._seen[place] = signature
            return
        look = _look(file.path, stat)
        after = _start(file.path, look, before)
        for found in self._source.messages(file, after):
            if self._follow and not found.whole and _is_fresh(stat):
                return
            after = found.after
            yield Unsent(found, place, asdict(look) | asdict(after))
        yield Unsent(None, place, asdict(look) | asdict(after) | {"done": True})
        self._seen[place] = signature


def _place(file: Path) -> str:
    """The name of a file's place."""
    folder = file.parent
    if folder.name in ("cur", "new") and (folder.parent / "cur").is_dir():
        return f"{folder.parent.resolve()}:{file.name.partition(':')[0]}"
    return str(file.resolve())


def _look(file: Path, stat: os.stat_result) -> Look:
    size = min(stat.st_size, HEAD_BYTES)
    return Look(stat.st_size, stat.st_mtime_ns, size, _head(file, size))


def _head(file: Path, size: int) -> str:
    with file.open("rb") as stream:
        return sha256(stream.read(size)).hexdigest()


def _start(file: Path, look: Look, before: dict[str, Any]) -> Place:
    """Where to go on: where it stood, if the file begins as it did and is no shorter."""
    if not before or look.size < before["size"]:
        return START
    if _head(file, before["head_bytes"]) != before["head"]:
        return START
    return Place(before["at"], before["number"])


def _is_fresh(stat: os.stat_result) -> bool:
    return 0 <= time.time() - stat.st_mtime < QUIET_SECONDS
