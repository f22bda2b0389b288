"""Text preparation: the one way a message becomes the text a model sees, trained or served."""

from __future__ import annotations

import unicodedata
from functools import cache

from pydantic import BaseModel, ConfigDict, Field, field_validator
from stop_words import LANGUAGE_MAPPING, get_stop_words

from stream_app.model.visible import stream_safe, visible

_AROUND = ".,;:!?()\"'"  # a word may be written with


class Preparation(BaseModel):
    """How title and body become one text; kept in `winnow.json` so that a model carries its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    separator: str = Field("\n", description="between title and body when both have words")
    max_chars: int = Field(
        20_000, gt=0, description="characters read; what follows cannot reach the tokens anyway"
    )
    stop_words: str = Field(
        "", description="language, such as en, whose commonest words are left out; '' keeps them"
    )

    @field_validator("stop_words")
    @classmethod
    def _known(cls, language: str) -> str:
        if language and language not in LANGUAGE_MAPPING:
            raise ValueError(f"there are no stop words for the language {language!r}")
        return language


def prepare(title: str, body: str, how: Preparation) -> str:
    """Join, normalise (NFKC), drop the invisible, collapse white space, cap; '' without words.

    What no reader sees is gone before the text is cut: padding pushes nothing out of it.
    """
    parts = [_clean(part, how.max_chars) for part in (title, body)]
    if how.stop_words:
        parts = [_without_stop_words(part, how.stop_words) for part in parts]
    return how.separator.join(part for part in parts if part)[: how.max_chars]


def _without_stop_words(text: str, language: str) -> str:
    """A text of nothing else stays as it is: every message keeps words to be labelled by."""
    dropped = _stop_words(language)
    kept = [word for word in text.split(" ") if word.lower().strip(_AROUND) not in dropped]
    return " ".join(kept) or text


@cache
def _stop_words(language: str) -> frozenset[str]:
    return frozenset(get_stop_words(language))


def _clean(text: str, limit: int) -> str:
    """The first `limit` clean characters, read from no more of `text` than they take."""
    read = limit
    while True:
        safe = stream_safe(visible(text[:read]))
        clean = " ".join(unicodedata.normalize("NFKC", safe).split())
        if len(clean) >= limit or read >= len(text):
            return clean[:limit]
        read *= 4
