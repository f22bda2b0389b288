"""The declarations that apply to an element -> whether they hide its text, and until when.

What people cannot read is hidden: fonts of two pixels and less, text of the colour behind it, boxes
without room for a line, places far outside of the page.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from stream_app.codecs.html.colours import CLEAR, UNKNOWN, alike, background, colour
from stream_app.codecs.html.css import Declarations
from stream_app.codecs.html.lengths import Length, length

MAX_OPACITY = 0.1
SMALL = 2.0  # pixels, of a font or a box
FAR = 500.0  # pixels outside of the page
ALL = 1 << 30  # characters
_WIDE = 10.0  # pixels of a letter, at most


class Mark(NamedTuple):
    """How an element changes what is seen within it; None and '' leave it as it is."""

    gone: bool = False  # with all that is in it
    size: Length | None = None  # of the font
    unseen: bool | None = None  # visibility: hidden, until it is visible
    away: int | None = None  # texts up to so many characters are out of sight, until one is placed
    ink: str = ""  # a colour
    paper: str = ""


NO_MARK = Mark()
SHOWN = Mark(False, length("medium"), False, 0, UNKNOWN, UNKNOWN)

_BOX_NAMES = """
    address article aside blockquote body center dd dir div dl dt fieldset figcaption figure footer
    form h1 h2 h3 h4 h5 h6 header li main menu nav ol p pre section ul
"""
_BOXES = set(_BOX_NAMES.split())  # other elements have no height or width that could cut them off
_BOX_DISPLAYS = {"block", "flex", "flow-root", "grid", "inline-block", "inline-flex", "list-item"}
_ROOM = {"padding", "padding-top", "padding-bottom", "padding-left", "padding-right"}
_ROOM |= {"min-height", "min-width"}
_SIDES = ("height", "max-height", "width", "max-width")
_PLACES = ("left", "top", "right", "bottom")
_PLACED = {*_PLACES, "position", "margin", "margin-left", "text-indent", "transform", "clip"}
_PAINT = ("text-shadow", "filter", "-webkit-text-fill-color", "-webkit-text-stroke")
_CUT = re.compile(
    r"rect\(\s*([01])(?:px)?(?:[\s,]+\1(?:px)?){3}\s*\)"  # of `clip`, the rest of `clip-path`
    r"|inset\(\s*(?:100|[5-9]\d)%|circle\(\s*0"
)
_SHRUNK = re.compile(r"scale[xy]?\(\s*0*\.?0*\s*[,)]")
_SHIFTED = re.compile(r"translate(?:3d|x|y)?\(\s*(-[^,()\s]+)|translate\([^,()]+,\s*(-[^,()\s]+)")


def mark_of(name: str, found: Declarations) -> Mark:
    """What these declarations make of an element of that name."""
    if not found:
        return NO_MARK
    if "all" in found or any(each.startswith("animation") for each in found):
        return SHOWN._replace(gone=found.get("display") == "none" and "all" not in found)
    faint = length(found.get("opacity", ""))
    gone = found.get("display") == "none" or found.get("content-visibility") == "hidden"
    return Mark(
        gone or (faint is not None and faint.number <= MAX_OPACITY),
        _font(found),
        {"hidden": True, "collapse": True, "visible": False}.get(found.get("visibility", "")),
        _away(name, found),
        colour(found.get("color", "")) if found.keys().isdisjoint(_PAINT) else UNKNOWN,
        background(found),
    )


def either(one: Mark, other: Mark) -> Mark:
    """What hides an element that has one mark or the other, nobody knows which."""
    if one == other:
        return one
    return Mark(
        one.gone and other.gone,
        one.size if one.size == other.size else SHOWN.size,
        one.unseen if one.unseen == other.unseen else SHOWN.unseen,
        one.away if one.away == other.away else SHOWN.away,
        one.ink if one.ink == other.ink else SHOWN.ink,
        one.paper if one.paper == other.paper else SHOWN.paper,
    )


def blends(ink: str, paper: str) -> bool:
    """Whether text of a colour cannot be seen on another."""
    return ink == CLEAR or alike(ink, paper)


def _font(found: Declarations) -> Length | None:
    if "font-size" in found:
        return length(found["font-size"])
    # in the shorthand the size stands behind the weight, before a line height and the family
    words = (word.partition("/")[0] for word in found.get("font", "").split())
    sizes = (length(word) for word in words if word == "0" or not word.isdigit())
    return next((size for size in sizes if size is not None), None)


def _away(name: str, found: Declarations) -> int | None:
    display = found.get("display", "")
    is_loose = found.get("position") in ("absolute", "fixed")
    is_box = is_loose or display in _BOX_DISPLAYS or (name in _BOXES and not display)
    if is_box and _is_out_of_sight(found, is_loose):
        return ALL
    shift = min(_pixels(found, "text-indent"), _pixels(found, "margin-left"))
    if is_box and shift <= -FAR:  # of its first line
        return int(-shift / _WIDE)
    return None if _PLACED.isdisjoint(found) else 0


def _is_out_of_sight(found: Declarations, is_loose: bool) -> bool:
    if _is_shut(found):
        return True
    if is_loose and any(_pixels(found, side) <= -FAR for side in _PLACES):
        return True
    if _CUT.search(found.get("clip-path", "") + (found.get("clip", "") if is_loose else "")):
        return True
    transform = found.get("transform", "")
    shifts = [length(each) for groups in _SHIFTED.findall(transform) for each in groups]
    is_far = any(shift is not None and shift.pixels <= -FAR for shift in shifts)
    return is_far or bool(_SHRUNK.search(transform))


def _is_shut(found: Declarations) -> bool:
    """Whether what is too large for a box is cut off, and a line of text is."""
    cuts = {found.get("overflow"), found.get("overflow-x"), found.get("overflow-y")}
    has_room = not all(_is_nothing(found.get(name, "0")) for name in _ROOM)
    return (
        not cuts.isdisjoint(("hidden", "clip"))
        and not has_room
        and any(_is_nothing(found.get(side, "")) for side in _SIDES)
    )


def _pixels(found: Declarations, name: str) -> float:
    size = length(found[name]) if name in found else None
    return size.pixels if size else 0.0


def _is_nothing(sizes: str) -> bool:
    """Whether all sizes of a value are too small for a line of text."""
    lengths = [length(size) for size in sizes.split()]
    return bool(lengths) and all(each is not None and each.pixels <= SMALL for each in lengths)
