"""Text preparation: the one way a message becomes the text a model sees, trained or served."""

from __future__ import annotations

import re
import unicodedata

from pydantic import BaseModel, ConfigDict, Field

_SPACE = re.compile(r"\s+")
# soft hyphen, Mongolian vowel separator, zero-width space, word joiner, byte order mark: spammers
# cut words with them; joiners that scripts and emoji need are kept
_INVISIBLE = re.compile("[\u00ad\u180e\u200b\u2060\ufeff]")


class Preparation(BaseModel):
    """How title and body become one text; kept in `winnow.json` so that a model carries its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    separator: str = Field("\n", description="between title and body when both have words")
    max_chars: int = Field(
        20_000, gt=0, description="characters read; what follows cannot reach the tokens anyway"
    )


def prepare(title: str, body: str, how: Preparation) -> str:
    """Join, cap, normalise (NFKC), drop the invisible, collapse white space; '' without words."""
    parts = [_clean(part[: how.max_chars]) for part in (title, body)]
    return how.separator.join(part for part in parts if part)[: how.max_chars]


def _clean(text: str) -> str:
    visible = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    return _SPACE.sub(" ", visible).strip()
