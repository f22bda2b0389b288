"""Text preparation: the one way a message becomes the text a model sees, trained or served."""

from __future__ import annotations

import re
import unicodedata

from pydantic import BaseModel, ConfigDict, Field

_SPACE = re.compile(r"\s+")


class Preparation(BaseModel):
    """How title and body become one text; kept in `winnow.json` so that a model carries its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    separator: str = Field("\n", description="between title and body when both have words")
    max_chars: int = Field(
        20_000, gt=0, description="characters read; what follows cannot reach the tokens anyway"
    )


def prepare(title: str, body: str, how: Preparation) -> str:
    """Join, cap, normalise (NFKC) and collapse white space; '' when there are no words."""
    parts = [_clean(part[: how.max_chars]) for part in (title, body)]
    return how.separator.join(part for part in parts if part)[: how.max_chars]


def _clean(text: str) -> str:
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text)).strip()
