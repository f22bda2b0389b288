"""Which run a refresh goes on with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from training.refreshing.run_folder import Plan, open_run

PLAN = Plan(
    route="mail",
    job="a",
    head_only=True,
    promote=True,
    champion="1",
    digest="d",
    began=datetime(2026, 3, 1, tzinfo=UTC),
)


def later(**changes: str) -> Plan:
    return PLAN.model_copy(update={"began": PLAN.began + timedelta(hours=1), **changes})


def test_an_unfinished_run_goes_on_if_it_is_the_same_job(tmp_path: Path) -> None:
    first = open_run(tmp_path, PLAN)
    assert open_run(tmp_path, later()).folder == first.folder
    assert open_run(tmp_path, later(job="b")).folder != first.folder


def test_a_run_of_another_version_is_left_alone(tmp_path: Path) -> None:
    first = open_run(tmp_path, PLAN)
    file = first.folder / "plan.json"
    file.write_text(file.read_text().replace('"job"', '"recipe"'))
    second = open_run(tmp_path, later())
    assert second.folder != first.folder
    assert second.last_refused() is None
