"""The outcome of a refresh, as JSON and as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from training.refreshing.run_folder import Plan

_OUTCOMES = {"pull": "waiting", "gates": "refused", "promote": "registered"}
_SAID = {
    "waiting": "there is too little new to learn from",
    "refused": "the champion stays",
    "registered": "the new model is the challenger",
    "promoted": "the new model is the champion",
}

Found = Mapping[str, Mapping[str, Any]]  # step -> what it found


def told(plan: Plan, name: str, found: Found) -> tuple[dict[str, Any], str]:
    """The report of a finished run as JSON, and as text."""
    last = list(found)[-1]
    because = found[last].get("because")
    report = {
        "outcome": _OUTCOMES[last] if because else "promoted",
        "because": because,
        "model": name,
        "champion": {"version": plan.champion, "digest": plan.digest},
        "challenger": {
            key: found[step][key]
            for step, key in (("register", "version"), ("seal", "digest"))
            if step in found
        },
        "head_only": plan.head_only,
        "feedback": found["pull"]["counts"],
        "data": {k: v for k, v in found.get("merge", {}).items() if k != "seconds"},
        "gates": found.get("gates", {}).get("gates", []),
        "notes": found.get("gates", {}).get("notes", []),
        "began": plan.began.isoformat(),
        "seconds": {step: said["seconds"] for step, said in found.items()},
    }
    return report, "\n".join(_lines(report)) + "\n"


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    champion = report["champion"]
    yield f"{report['model']}: {report['outcome']}, {_SAID[report['outcome']]}"
    if report["because"]:
        yield f"because {report['because']}"
    yield f"champion    version {champion['version']}, {champion['digest'][:12]}"
    if challenger := report["challenger"]:
        version = challenger.get("version", "not registered")
        yield f"challenger  version {version}, {challenger['digest'][:12]}"
    yield f"feedback    {_counts(report['feedback'])}"
    if report["data"]:
        yield f"learnt      {_counts(report['data'])}"
    for gate in report["gates"]:
        yield f"{'passed' if gate['passed'] else 'FAILED'}      {gate['name']}: {gate['reason']}"
    for note in report["notes"]:
        yield f"note        {note}"
    yield f"seconds     {_counts(report['seconds'])}"


def _counts(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items() if not isinstance(n, dict))
