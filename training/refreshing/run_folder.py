"""The folder of one refresh: its plan, a marker for each step that is done, and its report.

A marker is written in one rename after all that its step leaves, so that a refresh killed at any
point resumes after the last finished step.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from stream_app.core.errors import ConfigError

_PLAN, _REPORT = "plan", "report"


class Plan(BaseModel):
    """What a run is to make, fixed when it begins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    route: str
    job: str  # digest of all that was asked for
    head_only: bool
    promote: bool
    champion: str  # the registered version that it starts from
    digest: str  # of the champion
    began: datetime

    def same_job(self, other: Plan) -> bool:
        """Whether both are to make the same, though perhaps not from the same champion."""
        mine, others = (
            each.model_dump(exclude={"champion", "digest", "began"}) for each in (self, other)
        )
        return mine == others


class Run:
    """One refresh on disk."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan

    def done(self, step: str) -> dict[str, Any] | None:
        """The result of a step, None if it is not finished."""
        file = self.folder / f"{step}.json"
        return json.loads(file.read_bytes()) if file.exists() else None

    def mark(self, step: str, found: Mapping[str, Any]) -> None:
        """The step is finished."""
        _write(self.folder / f"{step}.json", json.dumps(found, indent=2, default=str))

    def finish(self, report: Mapping[str, Any], text: str) -> None:
        """The run is finished."""
        (self.folder / "report.txt").write_text(text)
        self.mark(_REPORT, report)

    def last_refused(self) -> Run | None:
        """The run before this one, where it was to make the same from the same champion, and the
        gates refused it."""
        before = [folder for folder in self.folder.parent.glob("*") if folder < self.folder]
        plan = _plan(max(before)) if before else None
        if plan is None or not plan.same_job(self.plan) or plan.champion != self.plan.champion:
            return None
        run = Run(max(before), plan)
        return run if (run.done(_REPORT) or {}).get("outcome") == "refused" else None


def open_run(work: Path, plan: Plan) -> Run:
    """The run to resume, or a new one.

    A run is resumed if its plan and champion are the same, or if it has itself made the current
    champion: then only its report is missing.
    """
    runs = work / "runs"
    newest = max(runs.glob("*"), default=None)
    begun = _plan(newest) if newest else None
    if newest and begun and begun.same_job(plan) and not (newest / f"{_REPORT}.json").exists():
        run = Run(newest, begun)
        made = (run.done("register") or {}).get("version")
        if plan.champion in (begun.champion, made):
            return run
    folder = runs / f"{plan.began.astimezone(UTC):%Y%m%dT%H%M%S.%f}"
    folder.mkdir(parents=True)
    _write(folder / f"{_PLAN}.json", plan.model_dump_json(indent=2))
    return Run(folder, plan)


@contextmanager
def one_at_a_time(work: Path) -> Iterator[None]:
    """Raises ConfigError while another process refreshes in the same folder; a killed one does not
    count."""
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"another refresh is at work in {work}: wait for it, or give another --work"
        ) from None
    with lock:
        yield


def _plan(folder: Path) -> Plan | None:
    """None without one, and for one of another version of Winnow, whose run is not resumed."""
    try:
        return Plan.model_validate_json((folder / f"{_PLAN}.json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _write(file: Path, text: str) -> None:
    part = file.with_suffix(".part")
    part.write_text(text + "\n")
    os.replace(part, file)
