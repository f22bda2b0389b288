"""A raw mail as text with Python's `email` package, for those who are not Winnow."""

from __future__ import annotations

from email import message_from_bytes, policy


def mail_text(raw: bytes) -> str:
    """Subject and body, plain text before HTML; a charset that nobody knows is read as Latin-1."""
    mail = message_from_bytes(raw, policy=policy.default)
    part = mail.get_body(("plain", "html"))
    body = ""
    if part is not None:
        try:
            body = part.get_content()
        except LookupError:  # so in 26 of SpamAssassin's 6,046 mails
            body = part.get_payload(decode=True).decode("latin-1")
    return f"{mail['subject'] or ''}\n{body}"
