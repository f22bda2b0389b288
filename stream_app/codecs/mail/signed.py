"""The content of a mail that is signed opaquely (S/MIME, RFC 8551, section 3.5.2).

It lies readable within the signature's own structure (CMS, RFC 5652, in BER), and mail programs
show it. The signature is not checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MAX_DEPTH, MAX_ELEMENTS = 16, 20_000

_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")  # 1.2.840.113549.1.7.2
_OBJECT_ID, _OCTETS, _OCTETS_IN_PIECES, _SEQUENCE, _EXPLICIT = 0x06, 0x04, 0x24, 0x30, 0xA0
_CONSTRUCTED, _NO_LENGTH, _END = 0x20, 0x80, b"\0\0"


def signed_content(data: bytes) -> bytes | None:
    """The MIME entity that is signed; None where there is none: the data is encrypted, say."""
    ber = _Ber(data)
    try:
        outer = ber.element(0, len(data))
        kind = ber.child(outer, _OBJECT_ID)
        if data[kind.start : kind.end] != _SIGNED_DATA:
            return None
        signed = ber.child(ber.child(outer, _EXPLICIT), _SEQUENCE)
        content = ber.child(ber.child(signed, _SEQUENCE), _EXPLICIT)
        return b"".join(ber.octets(content)) or None
    except (IndexError, StopIteration, ValueError):
        return None


class _Element(NamedTuple):
    tag: int
    start: int  # of its content
    end: int
    after: int


class _Ber:
    """Reads elements; raises `ValueError` or `IndexError` for what is none, or too much."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = MAX_ELEMENTS

    def child(self, parent: _Element, tag: int) -> _Element:
        """The first child of that tag. Raises `StopIteration` without one."""
        return next(child for child in self._children(parent) if child.tag == tag)

    def octets(self, parent: _Element, depth: int = 0) -> Iterator[bytes]:
        """The octet string in an element, whole or in pieces."""
        for child in self._children(parent):
            if child.tag == _OCTETS:
                yield self._data[child.start : child.end]
            elif child.tag == _OCTETS_IN_PIECES and depth < MAX_DEPTH:
                yield from self.octets(child, depth + 1)

    def element(self, at: int, end: int, depth: int = 0) -> _Element:
        """The element at a place."""
        self._left -= 1
        if not self._left or depth == MAX_DEPTH:
            raise ValueError
        tag, size, start = self._data[at], self._data[at + 1], at + 2
        if size == _NO_LENGTH and tag & _CONSTRUCTED:
            inner = start
            while self._data[inner : inner + 2] != _END:
                inner = self.element(inner, end, depth + 1).after
            return _Element(tag, start, inner, inner + 2)
        if size & _NO_LENGTH:
            start += size & ~_NO_LENGTH
            size = int.from_bytes(self._data[at + 2 : start], "big")
        if start + size > end:
            raise ValueError
        return _Element(tag, start, start + size, start + size)

    def _children(self, parent: _Element) -> Iterator[_Element]:
        at = parent.start
        while at < parent.end:
            child = self.element(at, parent.end)
            yield child
            at = child.after
