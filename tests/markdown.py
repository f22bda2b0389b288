"""What a Markdown page says: its code, its commands, its links and its anchors."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_COMMENT = re.compile(r"(^|\s)#.*$", re.MULTILINE)
_END = re.compile(r"[|&;<>\n]")  # of a command: the shell's


@dataclass(frozen=True)
class Page:
    """One page."""

    file: Path
    text: str

    @property
    def prose(self) -> str:
        """The page without its code blocks."""
        return _FENCE.sub("", self.text)

    @property
    def spans(self) -> list[str]:
        """The code within sentences and tables; one may go on in the next line."""
        return [" ".join(span.split()) for span in _SPAN.findall(self.prose)]

    @property
    def links(self) -> list[str]:
        """The targets of its links and images."""
        return _LINK.findall(_SPAN.sub("", self.prose))

    @property
    def anchors(self) -> set[str]:
        """What a link's `#…` may name: its headings, as GitHub and most renderers write them."""
        words = [re.sub(r"[^\w\- ]", "", title.lower()) for title in _HEADING.findall(self.prose)]
        return {word.strip().replace(" ", "-") for word in words}

    def uses(self, program: str) -> Iterator[list[str]]:
        """The arguments of every use of a program in its code."""
        blocks = [_COMMENT.sub("", match[0]) for match in _FENCE.finditer(self.text)]
        for code in (*blocks, *self.spans):
            for start in re.finditer(rf"(?<![\w-]){program} (?=[a-z-])", code):
                rest = code[start.end() :].replace("\\\n", " ")
                yield shlex.split(_END.split(rest)[0])


def read_page(file: Path) -> Page:
    """The page in a file."""
    return Page(file, file.read_text(encoding="utf-8"))
