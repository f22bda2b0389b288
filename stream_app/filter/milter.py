"""The milter protocol: a mail server hands each message over, and is told what to add to it.

kilter.protocol packs and unpacks; here is the conversation. A connection that fails ends alone,
and the mail server does with its message what `default_action` says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from traceback import format_tb

from kilter.protocol.buffer import SimpleBuffer
from kilter.protocol.messages import (
    LONG,
    Abort,
    Accept,
    ActionFlags,
    AddHeader,
    Body,
    ChangeHeader,
    Close,
    Continue,
    EndOfMessage,
    Header,
    Message,
    Negotiate,
    ProtocolFlags,
    Quarantine,
    ReplyCode,
)

from stream_app.core.errors import NoLabel
from stream_app.core.label_record import LabelRecord
from stream_app.core.settings import FilterSettings
from stream_app.filter.mail import SPAM, Mail, headers_of

log = logging.getLogger(__name__)

Ask = Callable[[bytes], Awaitable[LabelRecord | NoLabel]]

VERSION = 6
ACTIONS = ActionFlags.ADD_HEADERS | ActionFlags.CHANGE_HEADERS
STEPS = (  # those to leave out, and those that need no answer
    ProtocolFlags.NO_CONNECT
    | ProtocolFlags.NO_HELO
    | ProtocolFlags.NO_SENDER
    | ProtocolFlags.NO_RECIPIENT
    | ProtocolFlags.NO_DATA
    | ProtocolFlags.NO_UNKNOWN
    | ProtocolFlags.NO_END_OF_HEADERS
    | ProtocolFlags.NR_HEADER
    | ProtocolFlags.NR_BODY
    | ProtocolFlags.HEADER_LEADING_SPACE
)
MACRO = ord("D")
MAX_PACKET = 1024 * 1024  # Postfix and Sendmail send at most 64 kB of a body at once
IDLE_SECONDS = 7210.0  # libmilter's own; between two mails of a connection nothing comes
STOP_SECONDS = 1.0
MAX_ANSWER = 1024
REJECTED = b"550 5.7.1 This message looks like spam\0"


class Milter:
    """Serves the connections of a mail server. It reads `max_bytes` of a message, and no more."""

    def __init__(self, ask: Ask, settings: FilterSettings, max_bytes: int) -> None:
        self._ask = ask
        self._settings = settings
        self._max_bytes = max_bytes
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (EOFError, OSError, asyncio.CancelledError):
            pass  # the other side is gone, or has been silent for too long, or we stop
        except _Malformed as error:
            log.warning("milter: %s; the connection is closed", error)
        except Exception as error:  # a bug of ours must not end the other connections
            log.error("%s in %s", type(error).__name__, "".join(format_tb(error.__traceback__)))
        finally:
            self._connections.discard(task)
            writer.close()

    async def stop(self) -> None:
        """End all connections, once answers under way are sent."""
        if self._connections:
            await asyncio.wait(self._connections, timeout=STOP_SECONDS)
        for task in self._connections:
            task.cancel()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        agreed = Negotiate(VERSION, ActionFlags.NONE, ProtocolFlags.NONE)
        mail = Mail(self._max_bytes)
        async for message in _messages(reader):
            answers: list[Message] = []
            match message:
                case Negotiate():
                    agreed = self._agreed(message)
                    answers = [agreed]
                case Header():
                    mail.add_header(message.name, _spaced(message, agreed))
                    answers = _unless(ProtocolFlags.NR_HEADER, agreed)
                case Body():
                    mail.add_body(bytes(message.content))
                    answers = _unless(ProtocolFlags.NR_BODY, agreed)
                case EndOfMessage():
                    mail.add_body(bytes(message.content))
                    answers = await self._verdict(mail, agreed)
                    mail = Mail(self._max_bytes)
                case Abort():
                    mail = Mail(self._max_bytes)
                case Close():
                    return
                case _:  # a step that this mail server cannot leave out
                    answers = [Continue()]
            writer.writelines(map(_packed, answers))
            await writer.drain()

    def _agreed(self, offered: Negotiate) -> Negotiate:
        """Of what we want, what the mail server offers."""
        wanted = ACTIONS
        if self._settings.quarantine_at:
            wanted |= ActionFlags.QUARANTINE
        if wanted & ~offered.action_flags:
            log.error(
                "milter: the mail server does not let us change messages; it offers no more "
                "than %s",
                offered.action_flags,
            )
        return Negotiate(
            min(VERSION, offered.version),
            wanted & offered.action_flags,
            STEPS & offered.protocol_flags,
        )

    async def _verdict(self, mail: Mail, agreed: Negotiate) -> list[Message]:
        """The changes to a message, and at last what becomes of it."""
        label = await self._ask(mail.raw)
        settings, answers = self._settings, list[Message]()
        if ACTIONS in agreed.action_flags:
            answers += [ChangeHeader(number, name, b"") for name, number in mail.forged]
            if settings.headers and isinstance(label, LabelRecord):
                answers += _headers(label, agreed)
        if _is_spam(label, settings.reject_at):
            return [ReplyCode(REJECTED)]
        if (
            _is_spam(label, settings.quarantine_at)
            and ActionFlags.QUARANTINE in agreed.action_flags
        ):
            answers.append(Quarantine("it looks like spam"))
        return [*answers, Accept()]


class _Malformed(Exception):
    """What came is not the milter protocol."""


async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[Message]:
    """The mail server's messages. Raises EOFError, OSError, _Malformed."""
    while True:
        async with asyncio.timeout(IDLE_SECONDS):
            length = await reader.readexactly(LONG.size)
            [size] = LONG.unpack(length)
            if not 0 < size <= MAX_PACKET:
                raise _Malformed(f"a packet of {size} bytes")
            packet = await reader.readexactly(size)
        if packet[0] != MACRO:  # we need none, and the library takes only those in ASCII
            yield _unpacked(length + packet)


def _unpacked(packet: bytes) -> Message:
    buffer = SimpleBuffer(len(packet))
    buffer[:] = packet
    try:
        return Message.unpack(buffer)[0]
    except Exception as error:  # the library raises many kinds
        raise _Malformed(f"a packet that cannot be read ({type(error).__name__})") from error


def _packed(message: Message) -> bytes:
    buffer = SimpleBuffer(MAX_ANSWER)
    message.pack(buffer)
    return buffer[:].tobytes()


def _unless(flag: ProtocolFlags, agreed: Negotiate) -> list[Message]:
    """The answer to a step, unless the mail server agreed to do without."""
    return [] if flag in agreed.protocol_flags else [Continue()]


def _spaced(header: Header, agreed: Negotiate) -> bytes:
    """The value of a header as it stood behind the colon; an old mail server takes the space."""
    kept = ProtocolFlags.HEADER_LEADING_SPACE in agreed.protocol_flags
    return (b"" if kept else b" ") + bytes(header.value)


def _headers(label: LabelRecord, agreed: Negotiate) -> Iterator[Message]:
    kept = ProtocolFlags.HEADER_LEADING_SPACE in agreed.protocol_flags
    for name, value in headers_of(label):
        yield AddHeader(name, (b" " if kept else b"") + value.encode())


def _is_spam(label: LabelRecord | NoLabel, at: float) -> bool:
    """Whether it is, with at least such a confidence; 0 stands for never."""
    return isinstance(label, LabelRecord) and label.decision == SPAM and 0 < at <= label.confidence
