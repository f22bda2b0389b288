"""A mail on its way through the filter: its bytes, and the headers that only we may give."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from stream_app.core.label_record import LabelRecord

SPAM = "spam"
SPAM_FLAG = "X-Spam-Flag"
PREFIX = "X-Winnow-"
MAX_REMOVED = 1000  # headers of one mail; a mail server takes longer for each
MAX_CHARS = 200
_NEWLINE = re.compile(rb"\r?\n")
_UNSAFE = re.compile(r"[^ -~]")


class Mail:
    """A message as it comes in, header by header; of one longer than `max_bytes`, the beginning."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._raw = bytearray()
        self._in_body = False
        self._forged: Counter[str] = Counter()

    def add_header(self, name: str, value: bytes) -> None:
        """A header; `value` is all after the colon, its lines folded by any newline."""
        if _is_ours(name) and self._forged.total() < MAX_REMOVED:
            self._forged[name.strip().lower()] += 1
        self._add(name.encode() + b":" + _NEWLINE.sub(b"\r\n", value) + b"\r\n")

    def add_body(self, piece: bytes) -> None:
        """The next piece of the body."""
        if not self._in_body:
            self._in_body = True
            self._add(b"\r\n")
        self._add(piece)

    @property
    def raw(self) -> bytes:
        """The message; one byte longer than it may be, if it is longer at all."""
        return bytes(self._raw)

    @property
    def forged(self) -> Iterator[tuple[str, int]]:
        """The headers of ours that came from outside, by name and number of that name.

        The last comes first: so the numbers of the others stay, whether or not the mail server
        counts those that are removed.
        """
        for name, count in self._forged.items():
            yield from ((name, number) for number in range(count, 0, -1))

    def _add(self, piece: bytes) -> None:
        room = self._max_bytes + 1 - len(self._raw)
        self._raw += piece[: max(room, 0)]


def headers_of(label: LabelRecord) -> Iterator[tuple[str, str]]:
    """The names and values of what a mail gets, in order."""
    yield f"{PREFIX}Decision", _safe(label.decision)
    yield f"{PREFIX}Label", _safe(label.label)
    yield f"{PREFIX}Confidence", f"{label.confidence:.4f}"
    yield f"{PREFIX}Model", _safe(f"{label.model.name}/{label.model.version}")
    yield f"{PREFIX}Id", _safe(label.id)
    if label.decision == SPAM:
        yield SPAM_FLAG, "YES"


def _is_ours(name: str) -> bool:
    """Whether only we may give it; a name too long for an answer is nobody's."""
    lower = name.strip().lower()
    if len(lower) > MAX_CHARS:
        return False
    return lower.startswith(PREFIX.lower()) or lower == SPAM_FLAG.lower()


def _safe(text: str) -> str:
    """A model's card names its labels: none of them may end a header, or begin another."""
    return _UNSAFE.sub("?", text)[:MAX_CHARS]
