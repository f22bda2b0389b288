"""The committed dashboards, as Grafana reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "deploy" / "grafana" / "dashboards"
FILES = sorted(FOLDER.glob("*.json"))


def panels(file: Path) -> list[dict[str, Any]]:
    """All panels but the rows that hold them."""
    found = json.loads(file.read_text(encoding="utf-8"))["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def queries(seconds: int, **chosen: str) -> Iterator[tuple[str, str]]:
    """Each panel's name and PromQL, its variables replaced: by what is `chosen`, else by All."""
    values = {"job": ".+", "route": ".+", "price": "0.04", "__rate_interval": f"{seconds}s"}
    for file in FILES:
        for panel in panels(file):
            for target in panel["targets"]:
                expression = target["expr"]
                for name, value in (values | chosen).items():
                    expression = expression.replace(f"${name}", value)
                yield f"{file.stem}: {panel['title']} {target['refId']}", expression
