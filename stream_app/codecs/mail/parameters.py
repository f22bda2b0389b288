"""`Content-Type` and its kin: a value and its parameters, in whatever shape.

RFC 2045, section 5.1, with the continuations and charsets of RFC 2231; parameters that no semicolon
parts or that a quotation mark breaks off are read as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

_VALUE = re.compile(r"[\s\"']*+([^\s;,\"'()]*+)")
_PARAMETER = re.compile(
    r"(?<![^\s;])([^\s;=\"*]++)(\*\d{0,3}\*?)?+\s*+=\s*+(?:\"((?>[^\"\\]++|\\.)*+)\"?|([^;]*+))"
)
_KNOWN = {"boundary", "charset", "delsp", "format"}  # the others say nothing about the text
_ESCAPED = re.compile(r"\\(.)")


@dataclass(slots=True)
class Value:
    """`text/plain` or `attachment`, in lower case, and the texts given for each known parameter."""

    name: str = ""
    parameters: dict[str, list[str]] = field(default_factory=dict)

    def parameter(self, name: str) -> str:
        """The first text of a parameter; '' where there is none."""
        return next(filter(None, self.parameters.get(name, [])), "")


def read_value(raw: bytes) -> Value:
    """A value on one line, taken apart."""
    text = raw.decode("latin-1")
    found = _VALUE.match(text)
    value = Value(found[1].lower() if found else "")
    pieces: dict[str, list[tuple[int, str, bool]]] = {}
    for match in _PARAMETER.finditer(text, found.end() if found else 0):
        name, star, quoted, bare = match[1].lower(), match[2], match[3], match[4]
        if name not in _KNOWN:
            continue
        given = bare.strip() if quoted is None else _ESCAPED.sub(r"\1", quoted)
        if star:
            piece = int(star.strip("*") or 0), given, star.endswith("*")
            pieces.setdefault(name, []).append(piece)
        else:
            value.parameters.setdefault(name, []).append(given)
    for name, several in pieces.items():
        value.parameters.setdefault(name, []).append(_joined(sorted(several)))
    return value


def _joined(pieces: list[tuple[int, str, bool]]) -> str:
    """A text in numbered pieces, of which some are percent-encoded and the first has a charset."""
    if pieces[0][2]:
        number, text, encoded = pieces[0]
        pieces = [(number, text.split("'", 2)[-1], encoded), *pieces[1:]]
    return "".join(unquote(text, "latin-1") if encoded else text for _, text, encoded in pieces)
