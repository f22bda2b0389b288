"""Which of several forms of one text are read.

A mail program shows the last form that it can (RFC 2046, section 5.1.4), mostly HTML; filters have
always read the first, the plain one. In most good mail they say the same. Where they do not, a
spammer may have put something harmless, or nothing, into the form that nobody sees: then both are
read, the shown one first. How often that is: docs/adr/0016-alternatives.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

from stream_app.model.visible import visible

MAX_FORMS = 5  # beside the plain text; mails have up to four
MOST_UNSHOWN = 0.3  # share of a plain text's words that its other form may lack

# A word, or a letter of a script that puts no space between words. Addresses are left out: HTML has
# them behind its links.
_WORD = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]|[^\W_]+")
_ADDRESS = re.compile(r"(?:https?://|www\.|mailto:)\S+|\S+@\S+", re.IGNORECASE)


def read_alternatives(forms: Sequence[tuple[str, str]]) -> str:
    """Of (media type, text) in the order of the mail: the plain text, and before it each form that
    says something else, the last first."""
    given = [form for form in forms if form[1]]
    if len(given) < 2:
        return "".join(text for _, text in given)
    plain = next((at for at, (kind, _) in enumerate(given) if kind == "text/plain"), len(given) - 1)
    read = [Form(given.pop(plain)[1])]
    for _, text in reversed(given[-MAX_FORMS:]):
        form = Form(text)
        if not any(form.says_the_same_as(each) for each in read):
            read.insert(-1, form)
    return "\n".join(form.text for form in read)


class Form:
    """A text and its words."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def _words(self) -> list[str]:
        return _WORD.findall(_ADDRESS.sub(" ", visible(self.text)).lower())

    @cached_property
    def _different(self) -> set[str]:
        return set(self._words)

    def says_the_same_as(self, plain: Form) -> bool:
        """Whether another form holds every word of this one, and few besides."""
        if self.text == plain.text:
            return True
        if not self._different <= plain._different:
            return False
        unshown = sum(1 for word in plain._words if word not in self._different)
        return unshown <= MOST_UNSHOWN * len(plain._words)
