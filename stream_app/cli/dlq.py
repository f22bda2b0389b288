"""`winnow dlq list | show | replay`: the records that could not be labelled."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from stream_app.cli.options import AsJson, ConfigFile, RouteName, chosen_routes, print_row
from stream_app.configuration import load_settings
from stream_app.core.errors import SourceError
from stream_app.core.headers import ATTEMPTS, ERROR, REASON, VALUE_BYTES, VALUE_SHA256
from stream_app.core.messages import Record
from stream_app.core.settings import RouteSettings, Settings
from stream_app.dead_letters.letters import belongs, id_of, origin_of
from stream_app.dead_letters.replay import Outcome, replay
from stream_app.kafka.reading import read_topic
from stream_app.sources.files import STDIN

dlq = typer.Typer(no_args_is_help=True, help="The records that could not be labelled.")

ErrorCode = Annotated[
    str | None, typer.Option("--error", metavar="CODE", help="Only those with this error.")
]


@dlq.command("list")
def list_letters(
    config: ConfigFile,
    route: RouteName = None,
    error: ErrorCode = None,
    as_json: AsJson = False,
) -> None:
    """List the dead letters, a line each: id, when, error, attempts, bytes, reason."""
    settings = load_settings(config)
    count = 0
    for letter in _letters(settings, route):
        if error in (None, letter.header(ERROR)):
            print_row(as_json, _row(letter), _line(letter))
            count += 1
    typer.echo(f"{count} dead letters", err=True)


@dlq.command("show")
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="As `dlq list` prints it.")],
    config: ConfigFile,
    route: RouteName = None,
    value: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the value to this file, and print nothing else; - is stdout.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a dead letter's headers; --value writes its value."""
    settings = load_settings(config)
    found = [x for x in _letters(settings, route) if letter_id in (id_of(x), origin_of(x))]
    if not found:
        raise _not_found(letter_id)
    if value is not None:
        _write_value(found[-1], value)  # the same record may have failed twice
        return
    for letter in found:
        key = None if letter.key is None else _text(letter.key)
        headers = [(name, _text(value)) for name, value in letter.headers]
        title = f"{letter.id}  at {_time(letter)}  {_size(letter)} bytes"
        lines = [title, f"  key: {letter.key!r}", *(f"  {n}: {v}" for n, v in headers)]
        row = _row(letter) | {"letter": letter.id, "key": key, "headers": headers}
        print_row(as_json, row, "\n".join(lines))


@dlq.command("replay")
def replay_letters(
    config: ConfigFile,
    route: RouteName = None,
    letter_id: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="Only this one; repeatable.")
    ] = None,
    error: ErrorCode = None,
    max_attempts: Annotated[
        int, typer.Option(min=2, help="Skip letters that failed this often.")
    ] = 3,
) -> None:
    """Send dead letters back to their route's input topic, each exactly once.

    This holds if it is interrupted or runs twice. Key, value, headers and first id stay. A letter
    without a value, or one that failed --max-attempts times, is not sent: it is listed, and the
    exit code is 1. A second replay of a route waits for the first.
    """
    settings = load_settings(config)
    unseen = set(letter_id or ())

    def wanted(letter: Record) -> bool:
        ids = {id_of(letter), origin_of(letter)}
        unseen.difference_update(ids)
        chosen = not letter_id or not ids.isdisjoint(letter_id)
        return chosen and error in (None, letter.header(ERROR))

    failed = False
    for chosen in chosen_routes(settings, route):
        failed |= _report(chosen, replay(settings.kafka, chosen, wanted, max_attempts, _warn))
    for missing in sorted(unseen):
        raise _not_found(missing)
    if failed:
        raise typer.Exit(1)


def _letters(settings: Settings, route: str | None) -> Iterator[Record]:
    for chosen in chosen_routes(settings, route):
        letters = read_topic(settings.kafka, chosen.dead_letter_topic)
        yield from (letter for letter in letters if belongs(letter, chosen))


def _not_found(letter_id: str) -> SourceError:
    return SourceError(f"there is no dead letter {letter_id}; see `winnow dlq list`")


def _line(letter: Record) -> str:
    error, reason = letter.header(ERROR) or "?", letter.header(REASON) or ""
    return (
        f"{id_of(letter):<24} {_time(letter)} {error:<12} "
        f"{letter.header(ATTEMPTS) or '?':>2} {_size(letter):>10} {reason}"
    )


def _row(letter: Record) -> dict[str, Any]:
    """What `_line` says, for a program; null for what the letter does not say."""
    attempts, size = letter.header(ATTEMPTS) or "", _size(letter)
    return {
        "id": id_of(letter),
        "time": _time(letter),
        "error": letter.header(ERROR),
        "attempts": int(attempts) if attempts.isdecimal() else None,
        "bytes": int(size) if size.isdecimal() else None,
        "reason": letter.header(REASON),
    }


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _time(letter: Record) -> str:
    return f"{datetime.fromtimestamp((letter.timestamp or 0) / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _size(letter: Record) -> str:
    """Bytes of the value the record had."""
    if letter.value is not None:
        return str(len(letter.value))
    return letter.header(VALUE_BYTES) or "null"


def _write_value(letter: Record, file: Path) -> None:
    if letter.value is None:
        digest = letter.header(VALUE_SHA256)
        reason = f"it was too large to keep, sha256 {digest}" if digest else "it was null"
        raise SourceError(f"{id_of(letter)} has no value: {reason}")
    if file == STDIN:
        sys.stdout.buffer.write(letter.value)
        return
    try:
        file.write_bytes(letter.value)
    except OSError as error:
        raise SourceError(f"{file}: {error.strerror}") from error


def _report(route: RouteSettings, outcome: Outcome) -> bool:
    """Say what a replay did; True where one could not be replayed."""
    typer.echo(f"{route.name}: {outcome.sent} sent back to {route.input_topic}")
    for letter_id in outcome.without_value:
        _warn(f"{letter_id} has no value, so it cannot be replayed")
    for letter_id in outcome.too_large:
        _warn(f"{letter_id} is too large for {route.input_topic}")
    for letter_id in outcome.refused:
        _warn(
            f"{letter_id} has failed too often to be sent back: fix the cause, then raise "
            "--max-attempts"
        )
    return bool(outcome.without_value or outcome.too_large or outcome.refused)


def _warn(text: str) -> None:
    typer.echo(f"winnow: {text}", err=True)
