"""Models and drift: what serves, what it decides, whether its texts are still those it knows."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import (
    Section,
    board,
    graph,
    per,
    process,
    rate,
    route,
    table,
)

SERVING = per("route", route("model_info"))


def models() -> Dashboard:
    """For who trains, promotes and rolls back."""
    text = "Which models serve, what they decide, and whether the texts are still those they know."
    return board("models and drift", text, _serving(), _drift(), _challenger(), _people())


def _serving() -> Section:
    by = "route, model_version"
    labelled = per(by, rate(route("records_labelled_total")))
    reloads = per("route, outcome", f"increase({route('reloads_total')}[$__rate_interval])")
    return Section(
        "In service",
        [
            table(
                "Models",
                "One line a route and version; two while one replaces the other.",
                per("route, model_version, model", route("model_info")),
            ),
            graph(
                "Labels by version",
                "Where the line changes its name, a model was promoted.",
                "cps",
                (labelled, "{{route}} {{model_version}}"),
            ),
            graph(
                "Models that were to replace one",
                "swapped; refused: it cannot serve; unreachable: the registry does not answer.",
                "short",
                (f"{reloads} or 0 * {SERVING}", "{{route}} {{outcome}}"),
            ),
            graph(
                "Labels",
                "The class with the highest score, by share.",
                "percentunit",
                (
                    f"{per('route, label', rate(route('labels_total')))} / ignoring (label)"
                    f" group_left {per('route', rate(route('labels_total')))}",
                    "{{route}} {{label}}",
                ),
            ),
            graph(
                "Unsure by reason",
                "Share of a version's labels.",
                "percentunit",
                (
                    f"{per(f'{by}, reason', rate(route('records_unsure_total')))}"
                    f" / ignoring (reason) group_left {labelled}",
                    "{{route}} {{model_version}} {{reason}}",
                ),
            ),
            graph(
                "Memory of weights",
                "On the device; a route briefly holds two models.",
                "bytes",
                (per(by, route("model_memory_bytes")), "{{route}} {{model_version}}"),
            ),
        ],
    )


def _drift() -> Section:
    return Section(
        "Drift",
        [
            graph(
                "Drift",
                "Distance of the last window from what the model knew, averaged over workers. "
                "Below 0.1 little changed; above 0.25 a lot did, and its accuracy is unknown.",
                "short",
                (
                    f"avg by (route, statistic) ({route('drift_score')})",
                    "{{route}} {{statistic}}",
                ),
                limits=(0.1, 0.25),
                width=16,
            ),
            graph(
                "Windows compared",
                "Per hour. None: too few records for a window, or a model without drift.json.",
                "short",
                (f"3600 * {per('route', rate(route('drift_windows_total')))}", "{{route}}"),
            ),
        ],
    )


def _challenger() -> Section:
    shadow = per("route, outcome", rate(route("shadow_records_total")))
    return Section(
        "Challenger",
        [
            graph(
                "Shadow",
                "What the challenger says beside the champion; left_out while the route was busy. "
                "Without a challenger there is none.",
                "cps",
                (shadow, "{{route}} {{outcome}}"),
                width=12,
            ),
            graph(
                "Where they differ",
                "By the champion's label.",
                "cps",
                (
                    per("route, label", rate(route("shadow_disagreements_total"))),
                    "{{route}} {{label}}",
                ),
                width=12,
            ),
        ],
    )


def _people() -> Section:
    corrections = per("outcome", rate(route("corrections_total")))
    nobody = f"0 * sum({process('winnow_filter_in_flight')})"
    return Section(
        "People",
        [
            graph(
                "Copies for review",
                "failed: refused by the broker; dropped: the queue was full.",
                "cps",
                (
                    per("route, outcome", rate(route("records_for_review_total"))),
                    "{{route}} {{outcome}}",
                ),
                width=12,
            ),
            graph(
                "Corrections",
                "Told to winnow filter: taken, or why not.",
                "cps",
                (f"{corrections} or {nobody}", "{{outcome}}"),
                width=12,
            ),
        ],
    )
