"""Writes the dashboards' JSON: python -m deploy.grafana"""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.cost import cost
from deploy.grafana.delivery import delivery
from deploy.grafana.models import models
from deploy.grafana.overview import overview
from deploy.grafana.route import a_route

FOLDER = Path(__file__).parent / "dashboards"
BOARDS = (overview, a_route, models, delivery, cost)


def written(board: Dashboard) -> tuple[str, str]:
    """The name and text of a dashboard's file."""
    made = board.build()
    for number, panel in enumerate(made.panels or (), 1):
        panel.id_val = number
    return f"{made.uid}.json", JSONEncoder(indent=2, sort_keys=True).encode(made) + "\n"


def main() -> None:
    """All of them."""
    for board in BOARDS:
        name, text = written(board())
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
