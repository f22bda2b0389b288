"""Raw e-mail (RFC 5322 and MIME) -> Message. Written for mail as it is, not as it should be.

The text is the subject and what a mail program shows of the body; no other header enters it. HTML
becomes text; of alternatives that say the same the plain one is read; attachments are ignored; an
enclosed message is read like any part.

Input without a single header line is refused as `malformed`, whether binary or prose: every mail
that has passed a server has headers, so this is another kind of data on the topic, and a label
would hide that. Format `text` is for bare text.
"""

from __future__ import annotations

import codecs

from stream_app.codecs.mail.reading import Reading
from stream_app.codecs.mail.words import header_text
from stream_app.codecs.outcome import MALFORMED, field_text, finish
from stream_app.core.errors import NoText, RecordError
from stream_app.core.messages import Message, ParseSpec
from stream_app.model.visible import fit, is_blank

MAX_SUBJECT_CHARS = 4_000
MAX_SUBJECTS = 4


def parse_rfc822(value: bytes, spec: ParseSpec) -> Message:
    """The mail in `value`: title = subject, body = readable text, message_id = Message-ID.

    `spec.pass_fields` names headers, in any case; the first of several is taken. An mbox `From `
    line before the headers is fine. Raises `RecordError`: `malformed` for what has no headers,
    `no_text` for a mail without a word in subject and body; `NoText` where it has a picture or a
    file instead.
    """
    start = value.removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n")
    if b"\n" not in start:
        start = start.replace(b"\r", b"\n")
    reading = Reading()
    mail = reading.mail(start)
    if not mail.header.fields:
        raise RecordError(
            MALFORMED, "this is not an e-mail: it does not start with a header such as 'Subject:'"
        )
    body = reading.text(mail)

    def text(name: str) -> str:
        return header_text(mail.header.first(name), reading.charset)

    # of two subjects some programs show the first and some the last
    subjects = mail.header.all("subject")[:MAX_SUBJECTS]
    titles = [header_text(raw, reading.charset) for raw in dict.fromkeys(subjects)]
    title = fit(" ".join(filter(None, titles)), MAX_SUBJECT_CHARS)
    message_id = text("message-id")
    fields = {name: field_text(text(name)) for name in spec.pass_fields if mail.header.has(name)}
    if reading.has_more and is_blank(title) and is_blank(body):
        raise NoText(Message(message_id=field_text(message_id) or None, fields=fields))
    return finish(title, body, message_id=message_id, fields=fields)
