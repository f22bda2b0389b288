"""Files written into the text of a mail by uuencode, as was usual before MIME.

Mail programs show them as attachments; to a model their letters are noise.
"""

from __future__ import annotations

import re

MAX_LINES = 20_000  # of one file; a longer one stays

_BEGINS = re.compile(r"^begin [0-7]{3,4} \S.*\r?\n", re.MULTILINE)
_LINE = re.compile(r"([!-M])([ -`]*)\r?\n")
_ENDS = re.compile(r"(?:[` ]?\r?\n)?end[ \t]*(?:\r?\n|\Z)")
_WINDOW = 1 << 18


def without_files(text: str) -> str:
    """`text` without those that are whole, line by line, so that nothing else hides in one."""
    if "begin " not in text[:_WINDOW]:
        return text
    kept, at = [], 0
    while found := _BEGINS.search(text, at, _WINDOW):
        end = _end_of_file(text, found.end())
        kept.append(text[at : found.start() if end else found.end()])
        at = end or found.end()
    return "".join(kept) + text[at:]


def _end_of_file(text: str, at: int) -> int:
    """Behind the file whose lines begin at a place, 0 where they are none."""
    begin = at
    for _ in range(MAX_LINES):
        line = _LINE.match(text, at)
        if line is None:
            break
        octets = ord(line[1]) - 32
        if len(line[2]) not in range((octets * 4 + 2) // 3, (octets + 2) // 3 * 4 + 2):
            return 0
        at = line.end()
    end = _ENDS.match(text, at)
    return end.end() if end and at > begin else 0
