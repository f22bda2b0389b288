"""`winnow broker`: the embedded broker in the foreground."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from stream_app.core.errors import BrokerError
from stream_app.kafka.embedded_broker import EmbeddedBroker


def broker(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 9092,
) -> None:
    """Run the embedded broker until Ctrl-C, for trials and tests. It keeps nothing on disk.

    It is Tansu, a Kafka-compatible broker without transactions, and listens on 127.0.0.1 only.
    In production run Apache Kafka and put its address in kafka.bootstrap_servers.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with EmbeddedBroker(port) as embedded:
            typer.echo(f"broker at {embedded.address}; it keeps nothing on disk (Ctrl-C ends it)")
            raise BrokerError(f"the embedded broker ended by itself, code {embedded.wait()}")
    except KeyboardInterrupt:
        typer.echo("broker stopped; its records are gone", err=True)
