"""`winnow config show | check`: what a worker would run with, and whether it could."""

from __future__ import annotations

from typing import Any

import tomli_w
import typer

from stream_app.cli.options import AsJson, ConfigFile, print_row
from stream_app.configuration import load_settings
from stream_app.core.errors import ModelError
from stream_app.model.references import resolve
from stream_app.web.access import address, bearer_token

config = typer.Typer(no_args_is_help=True, help="Show and check the configuration.")


@config.command("show")
def show(config: ConfigFile, as_json: AsJson = False) -> None:
    """Print the effective configuration as TOML: the file, its defaults and the environment."""
    effective = load_settings(config).model_dump(mode="json", exclude_none=True)
    print_row(as_json, effective, tomli_w.dumps(effective).rstrip("\n"))


@config.command("check")
def check(config: ConfigFile, as_json: AsJson = False) -> None:
    """Check the configuration and the models of every route; exit code 1 if one is unusable.

    An `hf://` or `models:/` model is downloaded. Certificates, password and token files are read;
    the broker is not asked.
    """
    settings = load_settings(config)
    settings.kafka.client_arguments()
    if settings.imap.host:
        settings.imap.secret()
        settings.imap.tls()
    bearer_token("filter", settings.filter.token_file, address(settings.filter.http)[0])
    failed = False
    for route in settings.routes:
        for reference in filter(None, (route.model, route.challenger)):
            row: dict[str, Any] = {"route": route.name, "model": reference}
            try:
                card = resolve(reference, settings.registry).card
            except ModelError as error:
                failed = True
                row |= {"ok": False, "reason": str(error)}
                line = f"{route.name}: {error}"
            else:
                row |= {"ok": True, "version": card.version, "labels": card.labels}
                labels = ", ".join(card.labels)
                line = f"{route.name}: ok, {reference} is {card.name} {card.version} ({labels})"
            print_row(as_json, row, line)
    if failed:
        raise typer.Exit(1)
