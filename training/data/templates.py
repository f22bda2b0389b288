"""Invented texts: kinds of messages, each line of which is drawn from alternatives.

For kinds that no corpus holds. A file of templates gives the same texts every time.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream_app.core.errors import SourceError

_SLOT = re.compile(r"\{(\w+)\}")


class Kind(BaseModel):
    """Messages of one label: a title, and a choice of one of each list of `lines`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    titles: tuple[str, ...] = Field(min_length=1)
    lines: tuple[tuple[str, ...], ...]


class Templates(BaseModel):
    """`copies` of each kind are drawn; `{name}` is one of that slot, which may hold others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    copies: int = Field(gt=0)
    slots: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    kind: tuple[Kind, ...]


def draw(file: Path) -> Iterator[dict[str, str]]:
    """Rows of `id`, `label`, `title` and `text`. Raises SourceError for no templates."""
    try:
        templates = Templates.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise SourceError(f"{file} has no templates: {error}") from None
    for number, kind in enumerate(templates.kind):
        for copy in range(templates.copies):
            chance = random.Random(f"{number} {copy}")
            lines = [_filled(chance.choice(line), templates, chance) for line in kind.lines]
            yield {
                "id": f"{number}-{copy}",
                "label": kind.label,
                "title": _filled(chance.choice(kind.titles), templates, chance),
                "text": "\n".join(line for line in lines if line),
            }


def _filled(text: str, templates: Templates, chance: random.Random) -> str:
    def slot(found: re.Match[str]) -> str:
        if found[1] not in templates.slots:
            raise SourceError(f"a template has {found[0]}, which is none of its [slots]")
        return _filled(chance.choice(templates.slots[found[1]]), templates, chance)

    return _SLOT.sub(slot, text)
