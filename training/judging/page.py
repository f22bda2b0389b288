"""An evaluation as one HTML page that a person reads: tables, and plots drawn into it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 4.6, 4.0  # inches
_MOST_LABELS = 12  # whose cells and curves a plot can still show by name


def write_page(report: Mapping[str, Any], out: Path) -> None:
    """Write the page of the report of `figures.reported`."""
    source = (files("training.judging") / "page.html").read_text()
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    tests = [
        {"name": name, "figures": figures, "plots": _plots(figures, report["plots"][name])}
        for name, figures in report["test"].items()
    ]
    page = template.from_string(source).render(report=report, tests=tests)
    out.write_text(page)


def _plots(figures: Mapping[str, Any], drawn: Mapping[str, Any]) -> list[dict[str, str]]:
    found = []
    if "confusion" in figures:
        labels = list(figures["per_label"])
        found.append(
            _plot("Confusion: true label by row", _confusion, figures["confusion"], labels)
        )
    if drawn["curves"]:
        found.append(_plot("ROC", _roc, drawn["curves"]))
        found.append(_plot("Precision and recall", _precision_recall, drawn["curves"]))
    before, after = drawn["reliability_before"], drawn["reliability"]
    found.append(_plot("Is confidence what it says?", _reliability, before, after))
    for name, kinds in figures.get("slices", {}).items():
        found.append(_plot(f"Macro-F1 by {name}", _slices, kinds))
    return found


def _plot(title: str, draw: Any, *data: Any) -> dict[str, str]:
    """A plot as an <img>: SVG, so that it is sharp at any size."""
    with mpl.rc_context({"svg.hashsalt": "winnow", "font.size": 9, "axes.grid": True}):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        draw(figure.add_subplot(), *data)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return {"title": title, "svg": base64.b64encode(buffer.getvalue()).decode()}


def _confusion(axes: Axes, table: Sequence[Sequence[int]], labels: Sequence[str]) -> None:
    shares = [[cell / max(1, sum(row)) for cell in row] for row in table]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.grid(visible=False)
    named = labels if len(labels) <= _MOST_LABELS else [str(n) for n in range(len(labels))]
    axes.set_xticks(range(len(labels)), named, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), named)
    axes.set(xlabel="predicted", ylabel="true")
    if len(labels) > _MOST_LABELS:
        return
    for row, cells in enumerate(table):
        for column, cell in enumerate(cells):
            color = "white" if shares[row][column] > 0.5 else "black"
            axes.text(column, row, str(cell), ha="center", va="center", color=color)


def _roc(axes: Axes, curves: Mapping[str, Mapping[str, Any]]) -> None:
    _lines(axes, curves, "roc")
    axes.set(xscale="symlog", xlabel="false-positive rate", ylabel="recall")
    axes.set_xscale("symlog", linthresh=0.001)
    axes.set_xlim(0, 1)
    axes.axvline(0.001, color="grey", linestyle=":", label="0.1 %")
    axes.legend(loc="lower right")


def _precision_recall(axes: Axes, curves: Mapping[str, Mapping[str, Any]]) -> None:
    _lines(axes, curves, "precision_recall")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01))
    axes.legend(loc="lower left")


def _lines(axes: Axes, curves: Mapping[str, Mapping[str, Any]], kind: str) -> None:
    for label, points in list(curves.items())[:_MOST_LABELS]:
        x, y = zip(*points[kind], strict=True)
        axes.plot(x, y, label=label)
    axes.set_ylim(0, 1.01)


def _reliability(axes: Axes, before: Sequence[Any], after: Sequence[Any]) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    for name, bins, style in (("before scaling", before, "--o"), ("as served", after, "-o")):
        confidence, right, _ = zip(*bins, strict=True)
        axes.plot(confidence, right, style, markersize=4, label=name)
    axes.set(xlabel="confidence", ylabel="share that is right", xlim=(0, 1.01), ylim=(0, 1.01))
    axes.legend(loc="upper left")


def _slices(axes: Axes, kinds: Mapping[str, Mapping[str, Any]]) -> None:
    values = [row["macro_f1"] for row in kinds.values()]
    ends = [row["intervals"]["macro_f1"] for row in kinds.values()]
    errors = [
        [max(0.0, value - low) for value, (low, _) in zip(values, ends, strict=True)],
        [max(0.0, high - value) for value, (_, high) in zip(values, ends, strict=True)],
    ]
    axes.barh(range(len(kinds)), values, xerr=errors, color="#7aa6d6", capsize=3)
    names = [f"{name} ({row['rows']})" for name, row in kinds.items()]
    axes.set_yticks(range(len(kinds)), names)
    axes.set(xlim=(0, 1.01), xlabel="macro-F1 and its 95 % interval")
    axes.invert_yaxis()
