"""`winnow classify`: label files or stdin without Kafka, one JSON line a message."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from pathlib import Path
from threading import Semaphore, Thread
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream_app.codecs import CODECS
from stream_app.core.errors import RecordError
from stream_app.core.settings import EngineSettings, LabelSettings, from_options, load_registry
from stream_app.engine import backends
from stream_app.sources.files import STDIN, Source
from stream_app.sources.messages import MAX_MESSAGE_BYTES, Found

if TYPE_CHECKING:  # numpy and its like: no other command has a use for them
    from stream_app.labeller import Labeller
    from stream_app.pipeline.work import Work
    from stream_app.serving.served import ServedModel

BATCH_TOKENS = 4096
BATCH_SECONDS = 0.01  # a batch waits no longer for more, so a slow pipe sees its results at once
READ_AHEAD = 256  # messages that are on their way at once

Asked = tuple[str, "asyncio.Task[Work]"] | Exception | None  # an exception or None is the end


def classify(
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="REF", help="builtin:NAME, a path, hf://…, models:/…"
        ),
    ],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="Default, or -: stdin.")
    ] = None,
    message_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help=f"{', '.join(CODECS)}. Default: by each file's name; text for stdin.",
        ),
    ] = None,
    text_field: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="The field of the text, in json. Default: as the model's examples had it, or "
            "text, body, title and subject.",
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help=f"The backend: {', '.join(backends())}.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    min_confidence: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Below it the decision is unsure. Default: by the model's own."
        ),
    ] = None,
) -> None:
    """Label messages without Kafka: one JSON line each on stdout, in input order.

    One message is, in rfc822: a file, or a mail of an mbox; json: a line, or a row of a .csv; feed:
    an XML file, or a line; text: a line. Folders, tar archives and .gz are read too. A
    message that cannot be labelled gives a line with `error`, and exit code 1.
    """
    from stream_app.model.references import resolve
    from stream_app.serving.served import ModelLoader

    source = Source(files or [STDIN], message_format)
    artifact = resolve(model, load_registry(None))
    text = text_field or artifact.card.text_field
    settings = from_options(
        LabelSettings,
        name="classify",
        format="text",  # until a file says another
        model=model,
        field_names={"text": text} if text else {},
        min_confidence=min_confidence,
        max_record_bytes=MAX_MESSAGE_BYTES,
        max_batch_tokens=BATCH_TOKENS,
        max_batch_delay_seconds=BATCH_SECONDS,
    )
    how = from_options(EngineSettings, backend=engine, device=device)
    served = ModelLoader(settings, how, lambda outcome: None)(artifact, artifact.version)
    multi_label = artifact.card.problem == "multi_label"
    bad = asyncio.run(_write(source, settings, served, multi_label))
    if source.empty:
        typer.echo(f"winnow: left out {source.empty} empty files or mails", err=True)
    if bad:
        typer.echo(f"winnow: {bad} of the messages could not be labelled", err=True)
        raise typer.Exit(1)


async def _write(
    source: Source, settings: LabelSettings, model: ServedModel, multi_label: bool
) -> int:
    """A line a message, in input order; how many could not be labelled."""
    from stream_app.core.metrics import Metrics
    from stream_app.labeller import Labeller

    bad = 0
    async with AsyncExitStack() as stack:
        labellers = {}
        for name in source.formats:
            labeller = Labeller(settings.model_copy(update={"format": name}), model, Metrics())
            labellers[name] = await stack.enter_async_context(labeller)
        answers = await stack.enter_async_context(aclosing(_answers(source, labellers)))
        async for name, work in answers:
            line = json.dumps(_result(name, work, multi_label), ensure_ascii=False) + "\n"
            # always UTF-8; the odd byte of a file's name comes out as the JSON escape it needs
            sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace"))
            sys.stdout.buffer.flush()
            bad += work.error is not None
    return bad


async def _answers(
    source: Iterable[Found], labellers: Mapping[str, Labeller]
) -> AsyncGenerator[tuple[str, Work], None]:
    """The name and result of each message. Files are read on a thread of their own, at most
    READ_AHEAD messages ahead."""
    loop, room = asyncio.get_running_loop(), Semaphore(READ_AHEAD)
    asked: asyncio.Queue[Asked] = asyncio.Queue()

    def ask(found: Found) -> None:
        answer = loop.create_task(labellers[found.format].label(found.value))
        asked.put_nowait((found.name, answer))

    def read() -> None:
        end: Exception | None = None
        with suppress(RuntimeError):  # the loop is closed: no reader is left
            try:
                for found in source:
                    room.acquire()
                    loop.call_soon_threadsafe(ask, found)
            except Exception as error:  # raised again where the results are written
                end = error
            loop.call_soon_threadsafe(asked.put_nowait, end)

    Thread(target=read, daemon=True).start()
    try:
        while (found := await asked.get()) is not None:
            if isinstance(found, Exception):
                raise found
            name, answer = found
            yield name, await answer
            room.release()
    finally:
        await _drop(asked)


async def _drop(asked: asyncio.Queue[Asked]) -> None:
    """Cancel the answers that are still under way."""
    while not asked.empty():
        left = asked.get_nowait()
        if isinstance(left, tuple):
            left[1].cancel()
            await asyncio.wait({left[1]})


def _result(name: str, work: Work, multi_label: bool) -> dict[str, Any]:
    """The line of a message."""
    result: dict[str, Any] = {"source": name}
    if work.message and work.message.message_id:
        result["id"] = work.message.message_id
    found = work.result
    if isinstance(found, RecordError):
        return result | {"error": found.code, "reason": str(found)}
    result["label"] = found.label
    if multi_label:
        result["labels"] = list(found.labels)
    result |= {
        "confidence": found.confidence,
        "scores": dict(found.scores),
        "decision": found.decision,
    }
    if multi_label:
        result["decisions"] = list(found.decisions)
    if found.familiarity is not None:
        result["familiarity"] = found.familiarity
    if found.marks:
        result["marks"] = list(found.marks)
    return result
