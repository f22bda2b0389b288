"""Lengths of CSS, in pixels."""

from __future__ import annotations

import re
from typing import NamedTuple

USUAL = 16.0  # the size of a font that nobody sets

_LENGTH = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([a-z]*|%)")
_PIXELS = {"px": 1.0, "pt": 4 / 3, "pc": 16.0, "in": 96.0, "cm": 37.8, "mm": 3.78}
_PIXELS |= {"rem": USUAL, "vw": 10.0, "vh": 8.0, "vmin": 8.0, "vmax": 10.0}
_RELATIVE = {"em": 1.0, "%": 0.01, "ex": 0.5, "ch": 0.5, "lh": 1.2}
_KEYWORDS = {"xx-small": 9.0, "x-small": 10.0, "small": 13.0, "medium": USUAL, "large": 18.0}
_KEYWORDS |= {"x-large": 24.0, "xx-large": 32.0, "initial": USUAL}


class Length(NamedTuple):
    """So many pixels, or so many times the size of the font around."""

    number: float
    is_relative: bool = False

    @property
    def pixels(self) -> float:
        """In pixels, in a font of the usual size."""
        return self.number * USUAL if self.is_relative else self.number


def length(value: str) -> Length | None:
    """A length, or a number for one without a unit; None where it cannot be known."""
    if value in _KEYWORDS:
        return Length(_KEYWORDS[value])
    if (found := _LENGTH.fullmatch(value)) is None:
        return None
    number, unit = float(found[1]), found[2]
    if unit in _RELATIVE:
        return Length(number * _RELATIVE[unit], True)
    return Length(number * _PIXELS.get(unit, 1.0))
