"""A mail server's side of the milter protocol, one message or many over a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kilter.protocol.buffer import SimpleBuffer
from kilter.protocol.messages import (
    LONG,
    Accept,
    ActionFlags,
    AddHeader,
    Body,
    ChangeHeader,
    EndOfMessage,
    Header,
    Message,
    Negotiate,
    ProtocolFlags,
    Quarantine,
    ReplyCode,
)

OFFERED = Negotiate(6, ActionFlags.ALL, ProtocolFlags(0x1FFFFF))  # what Postfix 3.7 offers


def packed(message: Message) -> bytes:
    buffer = SimpleBuffer(256 * 1024)
    message.pack(buffer)
    return buffer[:].tobytes()


@dataclass
class Outcome:
    """What a mail server was told about a message."""

    added: list[tuple[str, str]] = field(default_factory=list)
    removed: list[tuple[str, int]] = field(default_factory=list)
    quarantined: bool = False
    rejected: bool = False


class MilterClient:
    """A connection of a mail server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *messages: Message) -> None:
        self.writer.write(b"".join(map(packed, messages)))

    async def receive(self) -> Message:
        length = await self.reader.readexactly(LONG.size)
        packet = length + await self.reader.readexactly(*LONG.unpack(length))
        buffer = SimpleBuffer(len(packet))
        buffer[:] = packet
        message = Message.unpack(buffer)[0]
        message.freeze()
        return message

    async def negotiate(self, offered: Negotiate = OFFERED) -> Negotiate:
        self.send(offered)
        agreed = await self.receive()
        assert isinstance(agreed, Negotiate)
        return agreed

    async def filtered(
        self, headers: Sequence[tuple[str, bytes]], body: Sequence[bytes] = ()
    ) -> Outcome:
        """Hand a message over, and take in what is answered."""
        self.send(*(Header(name, value) for name, value in headers), *map(Body, body))
        self.send(EndOfMessage(b""))
        return await self.outcome()

    async def outcome(self) -> Outcome:
        outcome = Outcome()
        while True:
            match await self.receive():
                case AddHeader(name=name, value=value):
                    outcome.added.append((name, bytes(value).decode()))
                case ChangeHeader(index=index, name=name, value=b""):
                    outcome.removed.append((name, index))
                case Quarantine():
                    outcome.quarantined = True
                case ReplyCode():
                    outcome.rejected = True
                    return outcome
                case Accept():
                    return outcome
                case other:
                    raise AssertionError(other)


@asynccontextmanager
async def mail_server(path: Path) -> AsyncIterator[MilterClient]:
    """A connection to a filter's socket."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield MilterClient(reader, writer)
    finally:
        writer.close()
