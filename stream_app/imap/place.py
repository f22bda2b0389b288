"""Where a mail lies: a header that its record carries to its label, so that a sink finds it.

It is an IMAP URL, RFC 5092: `imap://USER@HOST/MAILBOX;UIDVALIDITY=N/;UID=N`. Winnow's own headers
stay behind where a label or a dead letter is made; this one is not one of them, and travels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from stream_app.core.messages import Headers

HEADER = "imap-url"
_SAFE = "!$'()*+,&=~"  # RFC 5092, achar: no `/`, no `;`, no `@`, no `:`
_URL = re.compile(
    r"imap://([^/;@:]{1,1000})@([^/;@]{1,300})/([^/;@]{1,1000});UIDVALIDITY=(\d{1,10})/;UID=(\d{1,10})"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A mail of an account: `(user, host)`."""

    account: tuple[str, str]
    mailbox: str
    uidvalidity: int
    uid: int

    @property
    def url(self) -> str:
        """All of it as one text."""
        user, mailbox = quote(self.account[0], _SAFE), quote(self.mailbox, _SAFE)
        where = f"imap://{user}@{self.account[1]}/{mailbox}"
        return f"{where};UIDVALIDITY={self.uidvalidity}/;UID={self.uid}"


def place_of(headers: Headers) -> Place | None:
    """What a record's headers say; None where they say nothing of the kind."""
    for name, value in reversed(headers):
        if name == HEADER:
            found = _URL.fullmatch(value.decode("utf-8", "replace"))
            if found is None:
                return None
            account = (unquote(found[1]), found[2])
            return Place(account, unquote(found[3]), int(found[4]), int(found[5]))
    return None
